//! Where to listen and what to log. Other programs use the names `HOST`, `PORT` and `DEBUG` too. A value of `HOST` or
//! `DEBUG` that does not fit gets a note and is left to them, and `DRUMLIN_HOST`, `DRUMLIN_PORT` and `DRUMLIN_DEBUG`
//! win.

use std::net::{IpAddr, Ipv6Addr};

use tracing_subscriber::EnvFilter;

use super::Flags;
use super::refusal::{expected, invalid};
use crate::Result;
use crate::settings::Environment;

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// The address to listen on.
///
/// # Errors
/// `Invalid` for a value that is not an address or port, and for an address that others reach while no `keys` protect
/// it.
pub fn address(source: &Environment, flags: &Flags, keys: bool, notes: &mut Vec<String>) -> Result<(String, u16)> {
    let (name, host) = host(source, flags, notes)?;
    let port = port(source, flags, notes)?;
    let mut allow_public = false;
    source.flag("DRUMLIN_ALLOW_PUBLIC", &mut allow_public)?;
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !loopback && !keys && !allow_public {
        return Err(invalid(format!(
            "{name}: {host} can be reached from other machines, and no key protects this server; set STORAGE_API_KEY \
             or DRUMLIN_KEY_FILE, use 127.0.0.1, or set DRUMLIN_ALLOW_PUBLIC=true if something in front protects it"
        )));
    }
    Ok((host, port))
}

/// The host, and the variable or flag that named it.
fn host(source: &Environment, flags: &Flags, notes: &mut Vec<String>) -> Result<(&'static str, String)> {
    let (own, general) = (source.text("DRUMLIN_HOST"), source.text("HOST"));
    let named = flags.host.clone().map(|host| ("--host", host)).or_else(|| own.map(|host| ("DRUMLIN_HOST", host)));
    if let Some((name, text)) = named {
        let host = host_of(&text);
        return host
            .map(|host| (name, host))
            .ok_or_else(|| expected(name, "an address such as 127.0.0.1 or ::1, or a name, without a port", &text));
    }
    let Some(text) = general else { return Ok(("HOST", "127.0.0.1".to_owned())) };
    // Conda and some shells set it to the machine's type or name.
    match host_of(&text).filter(|host| host == "localhost" || host.parse::<IpAddr>().is_ok()) {
        Some(host) => Ok(("HOST", host)),
        None => {
            notes.push(format!(
                "HOST is {text:?}, which is not an address: it is ignored as another program's, and this server \
                 listens on 127.0.0.1; set DRUMLIN_HOST to listen elsewhere"
            ));
            Ok(("HOST", "127.0.0.1".to_owned()))
        }
    }
}

/// A name or address in the form that a listener takes; an IPv6 address may also be in brackets, as in a URL.
pub fn host_of(text: &str) -> Option<String> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(|ip| ip.to_string()),
        None if text.parse::<IpAddr>().is_ok() => Some(text.to_owned()),
        None => {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            (text.len() <= 253 && text.bytes().all(allowed)).then(|| text.to_owned())
        }
    }
}

fn port(source: &Environment, flags: &Flags, notes: &mut Vec<String>) -> Result<u16> {
    let (own, general) = (source.text("DRUMLIN_PORT"), source.text("PORT"));
    // Kubernetes sets it like this in every container beside a service named drumlin.
    let own = own.filter(|text| {
        let link = text.contains("://");
        if link {
            notes.push(format!("DRUMLIN_PORT is {text:?}, Kubernetes' link to a service named drumlin: it is ignored"));
        }
        !link
    });
    let flag = flags.port.clone().map(|port| ("--port", port));
    let named = flag.or_else(|| own.map(|port| ("DRUMLIN_PORT", port)));
    match named.or_else(|| general.map(|port| ("PORT", port))) {
        Some((name, text)) => text.parse().map_err(|_| expected(name, "a number from 0 to 65535", &text)),
        None => Ok(8000),
    }
}

/// The log filter: the given one, else one by `DRUMLIN_DEBUG` or `DEBUG`.
///
/// # Errors
/// `Invalid` for a filter that would log nothing useful.
pub fn log(source: &Environment, notes: &mut Vec<String>) -> Result<String> {
    let (mut debug, general) = (false, source.text("DEBUG"));
    match (source.text("DRUMLIN_DEBUG"), general) {
        (Some(_), _) => source.flag("DRUMLIN_DEBUG", &mut debug)?,
        (None, Some(text)) if source.flag("DEBUG", &mut debug).is_err() => notes.push(format!(
            "DEBUG is {text:?}, which is neither true nor false: it is ignored as another program's; set DRUMLIN_DEBUG \
             instead"
        )),
        _ => {}
    }
    let Some(filter) = source.text("DRUMLIN_LOG") else {
        return Ok(if debug { "debug" } else { "info" }.to_owned());
    };
    let refused = |why: String| {
        let what = format!("a level ({}) or targets with levels, such as info,drumlin::access=off", LEVELS.join(", "));
        invalid(format!("DRUMLIN_LOG: expected {what}, got {filter:?}{why}"))
    };
    for directive in filter.split(',').map(str::trim).filter(|directive| !directive.is_empty()) {
        // A bare word is a target: all its lines are logged, and nothing else is.
        let word = directive.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        let level = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(directive)) || directive.parse::<u8>().is_ok();
        if word && !level && directive != "drumlin" {
            return Err(refused(format!(": {directive:?} is no level")));
        }
    }
    EnvFilter::try_new(&filter).map_err(|e| refused(format!(": {e}")))?;
    Ok(filter)
}
