//! Several processes in one world: what each loses when it dies, what the others notice, and that nobody tidies up.

#![allow(clippy::unwrap_used, reason = "a test")]

mod deaths;
mod endings;
mod identities;
mod last_words;
mod pauses;
mod power;
mod setup;
mod storm;
#[path = "../common/talk.rs"]
mod talk;
