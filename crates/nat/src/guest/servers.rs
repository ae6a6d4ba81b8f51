//! The DHCP servers: which station gets which address.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_engine::DropReason;
use adit_packet::{Instant, MacAddr};

use crate::guest::config::{Address, GuestConfig, GuestV4};
use crate::guest::dhcp6::{Association, Grant, Status};
use crate::guest::leases::Leases;
use crate::guest::stations::Stations;
use crate::guest::{dhcp4, dhcp6};

/// What a server needs to know to decide: who asks, and what others have.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) now: Instant,
    pub(super) mac: MacAddr,
    pub(super) config: &'a GuestConfig,
    pub(super) stations: &'a mut Stations,
}

impl Desk<'_> {
    fn is_taken(&self, ip: impl Into<IpAddr>) -> bool {
        let ip = ip.into();
        !self.config.may_have(ip) || self.stations.is_held_by_another(self.now, self.mac, ip)
    }

    fn offer<A: Address>(&self, leases: &mut Leases<A>, wanted: Option<A>) -> Option<A> {
        leases.offer(self.now, self.mac, wanted, |ip| self.is_taken(ip))
    }

    fn bind<A: Address>(&mut self, leases: &mut Leases<A>, ip: A) -> bool {
        let former = leases.of(self.mac);
        let until = leases.bind(self.now, self.mac, ip, |ip| self.is_taken(ip));
        if let Some(until) = until {
            if let Some(former) = former.filter(|&former| former != ip) {
                self.stations.release(self.mac, former.into());
            }
            self.stations.lease(self.now, self.mac, ip.into(), until);
        }
        until.is_some()
    }

    fn release<A: Address>(&mut self, leases: &mut Leases<A>, ip: A) {
        leases.release(self.now, self.mac, ip);
        self.stations.release(self.mac, ip.into());
    }

    fn decline<A: Address>(&mut self, leases: &mut Leases<A>, ip: A) {
        leases.decline(self.now, self.mac, ip);
        self.stations.release(self.mac, ip.into());
    }
}

/// What the server answers a message of DHCP for IPv4, and the address that it assigns; `None` for a message
/// without an answer. It is the only server of the link, so it refuses what it does not know.
///
/// # Errors
///
/// [`DropReason::NO_FREE_ADDRESS`]; [`DropReason::MALFORMED`] if the message lacks what its kind needs.
pub(super) fn answer_v4(
    request: &dhcp4::Request<'_>,
    leases: &mut Leases<Ipv4Addr>,
    v4: &GuestV4,
    desk: &mut Desk<'_>,
) -> Result<Option<(dhcp4::Kind, Ipv4Addr)>, DropReason> {
    use dhcp4::Kind;
    let in_use = Some(request.client_ip).filter(|ip| !ip.is_unspecified());
    match request.kind {
        Kind::Discover => {
            let offered = desk.offer(leases, request.requested.or(in_use));
            let offered = offered.ok_or(DropReason::NO_FREE_ADDRESS)?;
            Ok(Some((Kind::Offer, offered)))
        }
        // The client took another server's offer.
        Kind::Request if request.server.is_some_and(|server| server != v4.gateway) => Ok(None),
        Kind::Request => {
            let wanted = request.requested.or(in_use).ok_or(DropReason::MALFORMED)?;
            Ok(Some(if desk.bind(leases, wanted) {
                (Kind::Ack, wanted)
            } else {
                (Kind::Nak, Ipv4Addr::UNSPECIFIED)
            }))
        }
        Kind::Inform => Ok(Some((Kind::Ack, Ipv4Addr::UNSPECIFIED))),
        Kind::Release => {
            desk.release(leases, request.client_ip);
            Ok(None)
        }
        Kind::Decline => {
            desk.decline(leases, request.requested.ok_or(DropReason::MALFORMED)?);
            Ok(None)
        }
        Kind::Offer | Kind::Ack | Kind::Nak => Err(DropReason::DHCP_GUARD),
    }
}

/// What the server answers a message of DHCP for IPv6: the kind, and the status of the whole.
pub(super) fn answer_v6(
    request: &dhcp6::Request<'_>,
    desk: &Desk<'_>,
) -> Option<(dhcp6::Kind, Option<Status>)> {
    use dhcp6::Kind;
    match request.kind {
        Kind::Solicit if !request.rapid_commit => Some((Kind::Advertise, None)),
        Kind::Confirm => {
            // RFC 8415, 18.3.3: no answer if there is no address to confirm.
            let mut ips =
                request.associations.iter().flatten().filter_map(|one| one.address).peekable();
            ips.peek()?;
            let all_fit = ips.all(|ip| desk.config.may_have(ip.into()));
            let status = if all_fit { Status::Success } else { Status::NotOnLink };
            Some((Kind::Reply, Some(status)))
        }
        Kind::Release | Kind::Decline => Some((Kind::Reply, Some(Status::Success))),
        _ => Some((Kind::Reply, None)),
    }
}

/// What one association of a message gets; `None` if the reply does not have it. A station has one address,
/// so only the first association that asks for one gets it.
pub(super) fn grant(
    request: &dhcp6::Request<'_>,
    association: &Association,
    leases: Option<&mut Leases<Ipv6Addr>>,
    desk: &mut Desk<'_>,
) -> Option<Grant> {
    use dhcp6::Kind;
    if matches!(request.kind, Kind::Confirm | Kind::Information) {
        return None;
    }
    let is_first = request.associations.iter().flatten().find(|one| one.is_for_addresses())
        == Some(association);
    let Some(leases) = leases.filter(|_| is_first) else {
        return Some(association.refusal());
    };
    let wanted = association.address;
    match (request.kind, wanted) {
        (Kind::Release, ip) => {
            desk.release(leases, ip?);
            None
        }
        (Kind::Decline, ip) => {
            desk.decline(leases, ip?);
            None
        }
        (Kind::Solicit | Kind::Request, _) => {
            let offered = desk.offer(leases, wanted);
            let commits = request.kind == Kind::Request || request.rapid_commit;
            let is_given = |ip: &Ipv6Addr| !commits || desk.bind(leases, *ip);
            Some(offered.filter(is_given).map_or(association.refusal(), Grant::Address))
        }
        // Renew and rebind.
        (_, Some(ip)) if desk.bind(leases, ip) => Some(Grant::Address(ip)),
        (_, Some(ip)) if !desk.config.may_have(ip.into()) => Some(Grant::Withdrawn(ip)),
        _ => Some(Grant::Status(Status::NoBinding)),
    }
}
