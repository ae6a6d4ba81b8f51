//! WireGuard tunnels. # Theory of operation
