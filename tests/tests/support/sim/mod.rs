//! A simulation: random operations on a real database, and beside it a model in plain Rust that says what must come out.

pub mod model;
pub mod op;
mod pass;
pub mod run;
