//! A simulated network in virtual time. # Theory of operation
