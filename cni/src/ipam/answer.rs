//! What an IPAM plugin says.

use std::{net::IpAddr, process::ExitStatus};

use ringway_kernel::IpPrefix;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    error::{Code, Error, Result},
    result::{Addressing, Ip, Route},
};

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    ips: Vec<Ip>,
    #[serde(default)]
    routes: Option<Vec<Route>>,
    #[serde(default)]
    dns: Option<Map<String, Value>>,
}

/// The error object of a plugin.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Failure {
    code: u32,
    msg: String,
    details: String,
}

/// A result of version 0.3.1 to 1.0.0, checked: it becomes netlink requests.
pub fn parse(output: &[u8], kind: &str) -> Result<Addressing> {
    let name = || format!("result of IPAM plugin {kind}");
    let answer: Answer =
        serde_json::from_slice(output).map_err(Error::because(Code::Ipam, name()))?;
    let wrong = |text: String| Error::new(Code::Ipam, format!("{}: {text}", name()));
    if answer.ips.is_empty() {
        return Err(wrong("no addresses".to_owned()));
    }
    for (n, Ip { address, gateway }) in answer.ips.iter().enumerate() {
        if let Some(kind) = no_hosts(address.address()) {
            let allowed = "a unicast address of a host";
            return Err(wrong(format!("address {address} is {kind}, allowed: {allowed}")));
        }
        if answer.ips[..n].iter().any(|other| other.address.address() == address.address()) {
            return Err(wrong(format!("address {address} is given twice")));
        }
        if gateway.is_some_and(|gateway| gateway.is_ipv4() != address.address().is_ipv4()) {
            return Err(wrong(format!("address {address} has a gateway of another family")));
        }
    }
    let mut routes = answer.routes.unwrap_or_default();
    for Route { dst, gw } in &mut routes {
        if gw.is_some_and(|gw| gw.is_ipv4() != dst.address().is_ipv4()) {
            return Err(wrong(format!("route to {dst} has a next hop of another family")));
        }
        // The kernel refuses a destination with host bits (inet_rtm_to_fib_config,
        // net/ipv4/fib_frontend.c); Go's parser, which the plugins are used to, takes them off.
        *dst = network(*dst);
    }
    Ok(Addressing { ips: answer.ips, routes, dns: answer.dns.unwrap_or_default() })
}

/// What an address is that no interface of a pod can have. IPv4's loopback and multicast addresses
/// the kernel would take.
fn no_hosts(address: IpAddr) -> Option<&'static str> {
    let broadcast = IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    match address {
        _ if address.is_unspecified() => Some("unspecified"),
        _ if address.is_loopback() => Some("a loopback address"),
        _ if address.is_multicast() => Some("a multicast address"),
        _ if address == broadcast => Some("the broadcast address"),
        _ => None,
    }
}

fn network(prefix: IpPrefix) -> IpPrefix {
    let length = u32::from(prefix.length());
    let address: IpAddr = match prefix.address() {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
            std::net::Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
            std::net::Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    };
    IpPrefix::new(address, prefix.length()).unwrap_or(prefix)
}

/// A failed plugin's own words. "Try again" is passed on; other codes are in the plugin's terms.
pub(super) fn failure(output: &[u8], status: ExitStatus, kind: &str, verb: &str) -> Error {
    let Failure { code, msg, details } = serde_json::from_slice(output).unwrap_or_default();
    let ours = if code == Code::TryAgain.number() { Code::TryAgain } else { Code::Ipam };
    let mut text = format!("{verb} of IPAM plugin {kind}");
    text += &match (msg.as_str(), details.as_str()) {
        ("", "") => format!(" failed without a word ({status})"),
        (msg, "") => format!(": {msg} (code {code})"),
        (msg, details) => format!(": {msg}: {details} (code {code})"),
    };
    Error::new(ours, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_old_and_new_versions_are_read() {
        let old = br#"{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.0.0.2/24",
            "gateway":"10.0.0.1"},{"version":"6","address":"fd00::2/64"}],
            "routes":[{"dst":"10.1.2.3/8"},{"dst":"::/0","gw":"fd00::1"}],"dns":{}}"#;
        let found = parse(old, "x").unwrap();
        assert_eq!(found.ips.len(), 2);
        let routes: Vec<_> = found.routes.iter().map(|route| route.dst.to_string()).collect();
        assert_eq!(routes, ["10.0.0.0/8", "::/0"]);
        let new = br#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/32"}],"routes":null,
            "dns":{"nameservers":["10.0.0.1"]}}"#;
        assert_eq!(parse(new, "x").unwrap().dns.len(), 1);
    }

    #[test]
    fn nonsense_is_refused_with_the_plugins_name() {
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"ips":[]}"#,
            r#"{"ips":[{"address":"10.0.0.2"}]}"#,
            r#"{"ips":[{"address":"10.0.0.2/33"}]}"#,
            r#"{"ips":[{"address":"10.0.0.2/24","gateway":"fd00::1"}]}"#,
            r#"{"ips":[{"address":"0.0.0.0/24"}]}"#,
            r#"{"ips":[{"address":"127.0.0.1/8"}]}"#,
            r#"{"ips":[{"address":"224.0.0.1/4"}]}"#,
            r#"{"ips":[{"address":"255.255.255.255/32"}]}"#,
            r#"{"ips":[{"address":"::1/128"}]}"#,
            r#"{"ips":[{"address":"ff02::1/64"}]}"#,
            r#"{"ips":[{"address":"10.0.0.2/24"},{"address":"10.0.0.2/16"}]}"#,
            r#"{"ips":[{"address":"10.0.0.2/24"}],"routes":[{"dst":"::/0","gw":"10.0.0.1"}]}"#,
        ] {
            let error = parse(bad.as_bytes(), "host-local").unwrap_err();
            assert_eq!(error.code(), Code::Ipam, "{bad}");
            assert!(error.to_string().starts_with("result of IPAM plugin host-local"), "{error}");
        }
    }

    fn failure(output: &[u8], kind: &str, verb: &str) -> Error {
        use std::os::unix::process::ExitStatusExt;
        super::failure(output, ExitStatus::from_raw(1 << 8), kind, verb)
    }

    #[test]
    fn failures_keep_the_plugins_words() {
        let error = failure(br#"{"code":11,"msg":"full","details":"wait"}"#, "x", "ADD");
        assert_eq!(error.code(), Code::TryAgain);
        assert_eq!(error.to_string(), "ADD of IPAM plugin x: full: wait (code 11)");
        let error = failure(b"panic", "x", "DEL");
        assert_eq!(
            error.to_string(),
            "DEL of IPAM plugin x failed without a word (exit status: 1)"
        );
        assert_eq!(failure(br#"{"code":7,"msg":"m"}"#, "x", "ADD").code(), Code::Ipam);
    }
}
