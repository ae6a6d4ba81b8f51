//! The program `adit`.

mod capture;

fn main() {}
