//! `admin`, installed as `perennial`: what an operator does by hand.

use std::process::ExitCode;

fn main() -> ExitCode {
    admin::run(perennial_boot::parse())
}
