//! The contract of the engines.
