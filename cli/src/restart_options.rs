//! Options about restarts after a failure.

use super::spans::duration;
use clap::ValueEnum;
use std::time::Duration;
use thalweg_kernel::RestartStrategy;
use thalweg_kernel::StreamExecutionEnvironment;

/// What to do when the job fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Strategy {
    /// End
    None,
    /// Go on after the same delay each time
    FixedDelay,
    /// Go on after delays that grow by half from failure to failure, up to a minute; an hour without a failure begins them anew
    ExponentialDelay,
}

/// How often and when to go on after a failure.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Restart options")]
pub(super) struct RestartOptions {
    /// What to do when the job fails [default: exponential-delay with --checkpoint-dir or one of the options below, none without]
    #[arg(long, value_name = "STRATEGY", value_enum)]
    restart_strategy: Option<Strategy>,

    /// How many restarts; with exponential-delay, how many until an hour passes without a failure [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    restart_attempts: Option<u32>,

    /// The delay before a restart; with exponential-delay, before the first [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    restart_delay: Option<Duration>,
}

impl RestartOptions {
    /// The chosen strategy; `None` if none was chosen.
    ///
    /// # Errors
    /// If the options contradict each other; says how.
    pub(super) fn strategy(&self) -> Result<Option<RestartStrategy>, String> {
        let attempts = self.restart_attempts.unwrap_or(ATTEMPTS);
        let delay = self.restart_delay.unwrap_or(DELAY);
        let says_how = self.restart_attempts.is_some() || self.restart_delay.is_some();
        // A user who sets the number of restarts, or the delay, wants restarts.
        match self.restart_strategy.or(says_how.then_some(Strategy::ExponentialDelay)) {
            None => Ok(None),
            Some(Strategy::None) => match (self.restart_attempts, self.restart_delay) {
                (None, None) => Ok(Some(RestartStrategy::None)),
                (Some(_), _) => Err(contradiction("--restart-attempts")),
                (None, Some(_)) => Err(contradiction("--restart-delay")),
            },
            Some(Strategy::FixedDelay) => Ok(Some(RestartStrategy::FixedDelay { attempts, delay })),
            // A delay of zero would never grow.
            Some(Strategy::ExponentialDelay) if delay.is_zero() => Err(
                "--restart-delay 0 does not grow: with exponential-delay it must be at least 1ms, or use --restart-strategy fixed-delay"
                    .to_owned(),
            ),
            Some(Strategy::ExponentialDelay) => Ok(Some(RestartStrategy::ExponentialDelay {
                initial: delay,
                max: LONGEST_DELAY.max(delay),
                multiplier: 1.5,
                reset_after: RESET_AFTER,
                attempts,
            })),
        }
    }

    pub(super) fn apply(&self, env: &StreamExecutionEnvironment) -> Result<(), String> {
        if let Some(strategy) = self.strategy()? {
            env.set_restart_strategy(strategy);
        }
        Ok(())
    }
}

/// The default number of restarts, that of [`RestartStrategy::exponential_delay`].
const ATTEMPTS: u32 = 10;
/// The default delay: long enough for a hiccup to pass, short enough for a person to wait.
const DELAY: Duration = Duration::from_secs(1);
/// The longest delay: waiting longer helps nobody; that of [`RestartStrategy::exponential_delay`].
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// After this time without a failure the delays start over.
const RESET_AFTER: Duration = Duration::from_secs(3600);

fn contradiction(option: &str) -> String {
    format!("{option} says how to restart and --restart-strategy none says not to: leave one out")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strategy(options: RestartOptions) -> Result<Option<RestartStrategy>, String> {
        options.strategy()
    }

    #[test]
    fn whoever_says_how_often_or_when_to_restart_need_not_say_that_it_is_wanted() {
        let often = RestartOptions { restart_attempts: Some(3), ..RestartOptions::default() };
        assert!(matches!(strategy(often), Ok(Some(RestartStrategy::ExponentialDelay { attempts: 3, initial: DELAY, .. }))));
        let soon = RestartOptions { restart_delay: Some(DELAY / 2), ..RestartOptions::default() };
        assert!(
            matches!(strategy(soon), Ok(Some(RestartStrategy::ExponentialDelay { attempts: ATTEMPTS, initial, .. })) if initial == DELAY / 2)
        );
    }

    #[test]
    fn a_strategy_is_chosen_with_its_limits_or_refused() {
        let second = Duration::from_secs(1);
        assert_eq!(strategy(RestartOptions::default()), Ok(None), "the engine's choice");
        let fixed = RestartOptions { restart_strategy: Some(Strategy::FixedDelay), restart_attempts: Some(3), restart_delay: None };
        assert_eq!(strategy(fixed), Ok(Some(RestartStrategy::FixedDelay { attempts: 3, delay: second })));
        let growing = RestartOptions { restart_strategy: Some(Strategy::ExponentialDelay), ..RestartOptions::default() };
        assert_eq!(strategy(growing.clone()), Ok(Some(RestartStrategy::exponential_delay())));
        let long = RestartOptions { restart_delay: Some(second * 90), ..growing.clone() };
        assert!(matches!(strategy(long), Ok(Some(RestartStrategy::ExponentialDelay { max, .. })) if max == second * 90));
        assert!(strategy(RestartOptions { restart_delay: Some(Duration::ZERO), ..growing }).is_err());
        assert!(strategy(RestartOptions { restart_delay: Some(Duration::ZERO), ..RestartOptions::default() }).is_err());
        let none = RestartOptions { restart_strategy: Some(Strategy::None), restart_attempts: Some(3), restart_delay: None };
        assert!(strategy(none).is_err_and(|message| message.contains("--restart-attempts")));
    }
}
