//! Two tunnels against each other in virtual time.
