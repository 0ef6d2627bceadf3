//! Worlds for tests, behind the same door as the real one. They know `thalweg-io` and nothing above it.
//!
//! [`small`] is one thread whose time stands still while anything can happen: for tests of a connection or a protocol by themselves.

pub mod small;
