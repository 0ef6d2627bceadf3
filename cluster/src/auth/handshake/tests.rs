use super::*;
use proptest::prelude::*;

fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(text).unwrap())
}

const ONE: &str = "the secret of the cluster";
const OTHER: &str = "the secret of another one";

/// The outcome of both sides, and all messages in order.
struct Exchanged {
    caller: Result<(), AuthError>,
    acceptor: Result<(), AuthError>,
    said: Vec<(Side, Vec<u8>)>,
}

/// Runs the exchange; `tamper` sees each message on its way.
fn talk(mut caller: Handshake, mut acceptor: Handshake, mut tamper: impl FnMut(Side, &mut Vec<u8>)) -> Exchanged {
    let mut said = Vec::new();
    let mut wires = [caller.open(), acceptor.open()];
    let mut outcomes = [None, None];
    said.push((Side::Caller, wires[0].clone()));
    tamper(Side::Caller, &mut wires[0]);
    for _ in 0..8 {
        for (to, from) in [(1, 0), (0, 1)] {
            let handshake = if to == 0 { &mut caller } else { &mut acceptor };
            if outcomes[to].is_some() {
                continue;
            }
            let Some(bytes) = handshake.wants() else {
                outcomes[to] = Some(Ok(()));
                continue;
            };
            if wires[from].len() < bytes {
                if outcomes[from].is_some() {
                    outcomes[to] = Some(Err(AuthError::Closed));
                }
                continue;
            }
            let heard: Vec<u8> = wires[from].drain(..bytes).collect();
            let mut turn = handshake.take(&heard);
            let side = if to == 0 { Side::Caller } else { Side::Acceptor };
            if !turn.reply.is_empty() {
                said.push((side, turn.reply.clone()));
                tamper(side, &mut turn.reply);
            }
            wires[to].extend(turn.reply);
            if let Some(failure) = turn.failure {
                outcomes[to] = Some(Err(failure));
            }
        }
    }
    let [caller, acceptor] = outcomes.map(|outcome| outcome.unwrap_or(Err(AuthError::Timeout(Duration::ZERO))));
    Exchanged { caller, acceptor, said }
}

fn sides(caller: Option<Secret>, acceptor: Option<Secret>) -> (Handshake, Handshake) {
    let control = Purpose::Control;
    (Handshake::new(Side::Caller, control, caller, [1; 32]), Handshake::new(Side::Acceptor, control, acceptor, [2; 32]))
}

fn outcome(caller: Option<Secret>, acceptor: Option<Secret>) -> (Result<(), AuthError>, Result<(), AuthError>) {
    let (caller, acceptor) = sides(caller, acceptor);
    let exchanged = talk(caller, acceptor, |_, _| {});
    (exchanged.caller, exchanged.acceptor)
}

#[test]
fn sides_with_the_same_secret_or_none_know_each_other() {
    assert!(matches!(outcome(secret(ONE), secret(ONE)), (Ok(()), Ok(()))));
    assert!(matches!(outcome(None, None), (Ok(()), Ok(()))));
}

#[test]
fn a_mismatch_of_secrets_is_found_by_both_and_the_cure_is_said() {
    assert!(matches!(outcome(secret(ONE), secret(OTHER)), (Err(AuthError::WrongSecret), Err(AuthError::WrongSecret))));
    assert!(matches!(outcome(secret(ONE), None), (Err(AuthError::PeerWithoutSecret), Err(AuthError::SecretMissing))));
    assert!(matches!(outcome(None, secret(ONE)), (Err(AuthError::SecretMissing), Err(AuthError::PeerWithoutSecret))));
    assert!(AuthError::SecretMissing.to_string().contains("give this process the cluster's secret"));
}

#[test]
fn another_purpose_or_version_is_found_by_both() {
    let caller = Handshake::new(Side::Caller, Purpose::Data, None, [1; 32]);
    let exchanged = talk(caller, sides(None, None).1, |_, _| {});
    assert!(matches!((exchanged.caller, exchanged.acceptor), (Err(AuthError::WrongDoor { .. }), Err(AuthError::WrongDoor { .. }))));
    let (caller, acceptor) = sides(None, None);
    let newer = talk(caller, acceptor, |side, bytes| {
        if side == Side::Caller {
            bytes[8] = 9;
        }
    });
    assert!(matches!(newer.acceptor, Err(AuthError::Version { own: 1, theirs: 9 })));
}

#[test]
fn a_stranger_who_calls_never_sees_a_proof() {
    let (_, mut acceptor) = sides(None, secret(ONE));
    let greeting = sides(secret(OTHER), None).0.open();
    let greeted = acceptor.take(&greeting);
    assert!(greeted.failure.is_none() && greeted.reply.len() == GREETING_BYTES);
    let refused = acceptor.take(&[7; PROOF_BYTES]);
    assert!(matches!(refused.failure, Some(AuthError::WrongSecret)));
    assert_eq!(refused.reply, [0; VERDICT_BYTES]);
    assert!(acceptor.take(&[0; 48]).failure.is_some(), "there is no second try");
}

#[test]
fn what_was_overheard_is_worth_nothing_on_another_connection() {
    let (caller, acceptor) = sides(secret(ONE), secret(ONE));
    let overheard = talk(caller, acceptor, |_, _| {}).said;
    for side in [Side::Caller, Side::Acceptor] {
        let mut victim = Handshake::new(side.other(), Purpose::Control, secret(ONE), [3; 32]);
        let _ = victim.open();
        let mut replayed: Vec<u8> = overheard.iter().filter(|(of, _)| *of == side).flat_map(|(_, bytes)| bytes.clone()).collect();
        let failure = std::iter::from_fn(|| {
            let bytes = victim.wants()?;
            let turn = victim.take(&replayed.drain(..bytes).collect::<Vec<_>>());
            Some(turn.failure)
        });
        assert!(failure.flatten().any(|failure| matches!(failure, AuthError::WrongSecret)), "replayed as {side:?}");
    }
}

#[test]
fn a_side_that_hears_its_own_words_is_not_deceived() {
    let (caller, _) = sides(secret(ONE), None);
    let own = caller.open();
    let (mut caller, mut acceptor) = sides(secret(ONE), secret(ONE));
    assert!(matches!(caller.take(&own).failure, Some(AuthError::Stranger)));
    // A caller that calls two acceptors and lets one answer the other's challenge: a proof is bound to one role.
    let mut greeting = acceptor.take(&own).reply;
    greeting[..8].copy_from_slice(Side::Caller.magic());
    let mut second = Handshake::new(Side::Acceptor, Purpose::Control, secret(ONE), [4; 32]);
    assert!(second.take(&greeting).failure.is_none());
    let as_acceptor = second.proof(Side::Acceptor, &[9; 32], &[9; 32]);
    assert_ne!(as_acceptor, second.proof(Side::Caller, &[9; 32], &[9; 32]));
}

#[test]
fn nonces_do_not_show_the_random_numbers_of_the_process() {
    let with = Handshake::new(Side::Caller, Purpose::Control, secret(ONE), [1; 32]);
    assert_ne!(with.own, [1; 32]);
}

proptest! {
    #[test]
    fn a_byte_changed_under_way_lets_nobody_in_with_a_secret(message in 0usize..4, at in 0usize..48, mask in 1u8..) {
        let (caller, acceptor) = sides(secret(ONE), secret(ONE));
        let mut seen = 0;
        let mut changed = None;
        let exchanged = talk(caller, acceptor, |side, bytes| {
            if seen == message {
                let place = at % bytes.len();
                bytes[place] ^= mask;
                changed = Some(side);
            }
            seen += 1;
        });
        let deceived = match changed {
            Some(Side::Caller) => exchanged.acceptor,
            _ => exchanged.caller,
        };
        prop_assert!(deceived.is_err());
    }

    #[test]
    fn garbage_never_panics(as_caller: bool, has_secret: bool, garbage in prop::collection::vec(any::<u8>(), 0..200)) {
        let side = if as_caller { Side::Caller } else { Side::Acceptor };
        let secret = if has_secret { secret(ONE) } else { None };
        let mut handshake = Handshake::new(side, Purpose::Data, secret, [5; 32]);
        let mut rest = &garbage[..];
        while let Some((heard, left)) = handshake.wants().and_then(|bytes| rest.split_at_checked(bytes)) {
            rest = left;
            if handshake.take(heard).failure.is_some() {
                break;
            }
        }
        let _ = Handshake::new(side, Purpose::Data, None, [5; 32]).take(&garbage);
    }
}
