//! What the integration tests, the demo and the benchmarks share: a home of their own for the built programs, a
//! real registry on loopback, and images made without an engine.

pub mod cache;
pub mod command;
pub mod compose;
pub mod faulty;
pub mod home;
pub mod http;
pub mod image;
pub mod mounted;
pub mod person;
pub mod registry;
pub mod samples;
pub mod terminal;
pub mod tokens;
