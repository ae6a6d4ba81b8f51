//! A link with delay, loss and rate. # Theory of operation
