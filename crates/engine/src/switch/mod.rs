//! A learning Ethernet switch. # Theory of operation
