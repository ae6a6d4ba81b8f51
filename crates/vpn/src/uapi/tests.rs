use crate::file::keys::Key;
use crate::uapi::format::{errno, get};
use crate::uapi::parse::{end_of_request, parse};
use crate::uapi::*;

const A: &str = "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a";
const B: &str = "b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33";
const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";

fn set(text: &str) -> SetRequest {
    match parse(text.as_bytes()) {
        Ok(Request::Set(request)) => *request,
        other => panic!("{other:?}"),
    }
}

/// The example of the protocol's page.
#[test]
fn the_example_of_the_protocol() {
    let text = format!(
        "set=1\nprivate_key={A}\nfwmark=0\nlisten_port=12912\nreplace_peers=true\n\
         public_key={B}\npreshared_key={A}\nreplace_allowed_ips=true\nallowed_ip=192.168.4.4/32\n\
         endpoint=[abcd:23::33%2]:51820\n\
         public_key={A}\nremove=true\n\
         public_key={ZERO}\nupdate_only=true\npersistent_keepalive_interval=111\n\
         endpoint=182.122.22.19:3233\nallowed_ip=::/0\nallowed_ip=-10.0.0.1/8\n\
         protocol_version=1\npreshared_key={ZERO}\n\n"
    );
    assert_eq!(end_of_request(text.as_bytes()), Some(text.len()));
    let request = set(&text);
    assert_eq!(request.private_key.unwrap().unwrap(), PrivateKey::from_hex(A).unwrap());
    assert_eq!((request.fwmark, request.listen_port), (Some(0), Some(12912)));
    assert!(request.replace_peers);
    let [one, two, three] = &request.peers[..] else { panic!("{:?}", request.peers) };
    assert_eq!(*one.public_key.to_hex(), B);
    assert!(one.preshared_key.as_ref().unwrap().is_some() && one.replace_allowed_ips);
    assert_eq!(one.allowed_ips, ["192.168.4.4/32".parse().unwrap()]);
    assert_eq!(one.endpoint.unwrap().to_string(), "[abcd:23::33%2]:51820");
    assert!(two.remove && !two.update_only && three.update_only);
    assert_eq!((three.keepalive, &three.preshared_key), (Some(111), &Some(None)));
    assert_eq!(three.forbidden_ips, ["10.0.0.0/8".parse().unwrap()]);
}

#[test]
fn a_key_of_zeros_takes_the_key_away() {
    assert_eq!(set(&format!("set=1\nprivate_key={ZERO}\n\n")).private_key, Some(None));
    assert_eq!(set("set=1\n\n"), SetRequest::default());
    assert_eq!(parse(b"get=1\n\n"), Ok(Request::Get));
}

#[test]
fn an_invalid_request_is_refused_whole() {
    let peer = format!("public_key={A}\n");
    let wrong = [
        "",
        "\n\n",
        "get=2\n\n",
        "get=1\nx=1\n\n",
        "set=1\nx\n\n",
        "set=1\nlisten_port=65536\n\n",
        "set=1\nlisten_port=-1\n\n",
        "set=1\nlisten_port=+1\n\n",
        "set=1\nreplace_peers=false\n\n",
        "set=1\nprivate_key=00\n\n",
        "set=1\nallowed_ip=::/0\n\n",
        "set=1\nendpoint=1.2.3.4:5\n\n",
        "set=1\nfwmark=4294967296\n\n",
        "set=1\n\nlisten_port=1\n\n",
    ];
    for text in wrong {
        assert_eq!(parse(text.as_bytes()), Err(BadRequest), "{text:?}");
    }
    let of_a_peer = [
        "endpoint=1.2.3.4:0",
        "endpoint=a:1",
        "allowed_ip=1.2.3.4/33",
        "listen_port=1",
        "x=1",
        "protocol_version=2",
        "persistent_keepalive_interval=65536",
        "preshared_key=1",
    ];
    for line in of_a_peer {
        let text = format!("set=1\n{peer}{line}\n\n");
        assert_eq!(parse(text.as_bytes()), Err(BadRequest), "{line}");
    }
    assert_eq!(parse(b"set=1\nfwmark=\xff\n\n"), Err(BadRequest));
}

#[test]
fn an_answer_has_all_that_is_known() {
    let tunnel = Snapshot {
        private_key: Some(PrivateKey::from_hex(A).unwrap()),
        listen_port: 51820,
        fwmark: 7,
        peers: vec![PeerSnapshot {
            public_key: PublicKey::from_hex(B).unwrap(),
            preshared_key: None,
            endpoint: Some("[2001:db8::1]:5".parse().unwrap()),
            last_handshake: Some(Duration::new(1_700_000_000, 5)),
            bytes_sent: 1,
            bytes_received: u64::MAX,
            keepalive: 25,
            allowed_ips: vec!["192.0.2.0/24".parse().unwrap(), "::/0".parse().unwrap()],
        }],
    };
    let private = PrivateKey::from_hex(A).unwrap().to_hex();
    let expected = format!(
        "private_key={}\nlisten_port=51820\nfwmark=7\npublic_key={B}\nprotocol_version=1\n\
         endpoint=[2001:db8::1]:5\nlast_handshake_time_sec=1700000000\n\
         last_handshake_time_nsec=5\ntx_bytes=1\nrx_bytes=18446744073709551615\n\
         persistent_keepalive_interval=25\nallowed_ip=192.0.2.0/24\nallowed_ip=::/0\n\
         errno=0\n\n",
        *private
    );
    assert_eq!(*get(&tunnel), expected);
    assert_eq!(*get(&Snapshot::default()), "errno=0\n\n");
    assert_eq!((errno(0).as_str(), errno(22).as_str()), ("errno=0\n\n", "errno=-22\n\n"));
}

/// The zone of an address is a name or a number.
#[test]
fn a_zone_is_the_name_of_an_interface() {
    let endpoint = |text: &str| {
        let text = format!("set=1\npublic_key={A}\nendpoint={text}\n\n");
        let request = parse(text.as_bytes()).ok()?;
        let Request::Set(request) = request else { panic!("{request:?}") };
        request.peers[0].endpoint
    };
    assert_eq!(endpoint("[fe80::1%lo]:7"), endpoint("[fe80::1%1]:7"));
    assert!(endpoint("[fe80::1%lo]:7").is_some());
    for wrong in
        ["[fe80::1%no-such-link]:7", "[fe80::1%lo]:0", "[fe80::1%lo]", "[fe80::1%]:7", "[x%lo]:7"]
    {
        assert_eq!(endpoint(wrong), None, "{wrong}");
    }
}
