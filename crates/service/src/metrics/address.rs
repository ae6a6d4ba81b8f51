//! Where metrics are read by TCP.

use crate::config::table::Table;
use crate::config::value::{self, Value, Wrong, integer, parsed};
use crate::control::socket::Listener;
use crate::error::{Entry, Error, Kind, Result};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::str::FromStr;

/// The address cannot be used.
const ADDRESS: Entry = Entry {
    code: "ADIT-E0849",
    title: "the address for metrics cannot be used",
    explanation: "Another program listens on the port, or the address is none of this machine. The metrics of all \
                  programs are on one port with 'adit exporter'.",
    remedy: "Choose another port, or find the program that has it: 'ss -ltnp'.",
};

/// The codes of metrics.
pub const CATALOG: [Entry; 1] = [ADDRESS];

/// An address and port to listen on: on the loopback interface, unless an address is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    address: SocketAddr,
    has_page: bool,
}

impl ListenAddress {
    /// The usual one: that of other exporters for WireGuard, so that dashboards and scrape rules go on.
    pub const USUAL: Self = Self::local(9586);

    /// The port at 127.0.0.1.
    #[must_use]
    pub const fn local(port: u16) -> Self {
        Self::at(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    const fn at(address: SocketAddr) -> Self {
        Self { address, has_page: false }
    }

    /// The address for metrics and the page, of which each may be wanted; `None` if neither is.
    ///
    /// # Errors
    /// They are two.
    pub fn of_both(metrics: Option<Self>, page: Option<Self>) -> Result<Option<Self>> {
        match (metrics, page) {
            (Some(one), Some(other)) if one.address != other.address => {
                let message = format!("the metrics are at {one}, the page at {other}");
                Err(Error::usage(message).hint("Give both the same address: they share it."))
            }
            (metrics, None) => Ok(metrics),
            (_, Some(page)) => Ok(Some(Self { has_page: true, ..page })),
        }
    }

    /// Whether the page is served there as well.
    #[must_use]
    pub const fn has_page(self) -> bool {
        self.has_page
    }

    /// Listens.
    ///
    /// # Errors
    /// With the code of a bad address: EADDRINUSE, EADDRNOTAVAIL, or EACCES below port 1024.
    pub fn listen(self) -> Result<Listener> {
        let listener = TcpListener::bind(self.address).and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok(Listener { socket, has_page: self.has_page })
        });
        listener.map_err(|error| {
            let mut new = Error::io("listen for metrics on", self, &error).hint(ADDRESS.remedy);
            new.report.code = ADDRESS.code.to_owned();
            if error.kind() == std::io::ErrorKind::AddrInUse {
                new.kind = Kind::Conflict;
            }
            new
        })
    }
}

/// Reads the keys `metrics` and `page` of a file.
pub fn of_table(table: &mut Table<'_>) -> Option<ListenAddress> {
    let (metrics, page) = (table.get("metrics", address), table.get("page", address));
    ListenAddress::of_both(metrics, page).unwrap_or_else(|error| {
        table.wrong("page", error, Some("they share one address".to_owned()));
        None
    })
}

/// Reads an address from a file: a port as a number, or a text as on the command line.
///
/// # Errors
/// It is neither.
pub fn address(value: &Value<'_>) -> Result<ListenAddress, Wrong> {
    match value.kind {
        value::Kind::Integer(_) => integer(1..=u16::MAX)(value).map(ListenAddress::local),
        _ => parsed("an address and a port such as 127.0.0.1:9586")(value),
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = match text.parse::<u16>() {
            Ok(port) => Ok(Self::local(port)),
            Err(_) => text.parse().map(Self::at),
        };
        address.map_err(|_| {
            "expected a port for 127.0.0.1, or an address and a port such as 127.0.0.1:9586 or [::1]:9586"
                .to_owned()
        })
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_on_the_loopback_interface() {
        let shown = |text: &str| text.parse::<ListenAddress>().map(|address| address.to_string());
        assert_eq!(shown("9586").as_deref(), Ok("127.0.0.1:9586"));
        assert_eq!(shown("0.0.0.0:80").as_deref(), Ok("0.0.0.0:80"));
        assert_eq!(shown("[::1]:80").as_deref(), Ok("[::1]:80"));
        for wrong in ["", ":80", "localhost", "70000", "1.2.3.4", "::1:80:"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
