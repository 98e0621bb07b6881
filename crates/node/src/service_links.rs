//! The variables that Kubernetes puts into every pod for each Service of its namespace, unless the pod says `enableServiceLinks: false`.
//!
//! Those of a Service named `hookyard…` begin as the configuration's own do, and are none of it. Source: Kubernetes' documentation of Services,
//! "Environment variables".

/// Transport protocols of a Service's ports.
const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

/// The Services whose variables are there.
#[derive(Clone, Debug)]
pub struct ServiceLinks {
    /// What the names of each one's variables begin with: nothing, or a name and `_`.
    stems: Vec<String>,
}

impl ServiceLinks {
    /// Those among variables, of which each is named in small letters and without the configuration's prefix.
    pub fn among(names: impl Iterator<Item = String>) -> Self {
        let stem = |name: String| name.strip_suffix("service_host").map(str::to_owned);
        Self { stems: names.filter_map(stem).filter(|stem| stem.is_empty() || stem.ends_with('_')).collect() }
    }

    /// Whether a variable is of one of them.
    pub fn include(&self, name: &str) -> bool {
        self.stems.iter().filter_map(|stem| name.strip_prefix(stem.as_str())).any(|rest| {
            matches!(rest, "service_host" | "service_port" | "port")
                || rest.starts_with("service_port_")
                || rest.strip_prefix("port_").is_some_and(is_port)
        })
    }
}

/// `80_tcp`, alone or with one of three words behind it.
fn is_port(text: &str) -> bool {
    let mut parts = text.splitn(3, '_');
    let is_number = parts.next().is_some_and(|number| number.parse::<u16>().is_ok());
    let is_protocol = parts.next().is_some_and(|protocol| PROTOCOLS.contains(&protocol));
    is_number && is_protocol && parts.next().is_none_or(|part| ["addr", "port", "proto"].contains(&part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_a_service_is_known_and_a_mistake_is_not() {
        let of_admin = ["admin_service_host", "admin_service_port", "admin_service_port_http", "admin_port", "admin_port_80_tcp"];
        let of_hookyard = ["service_host", "service_port", "port", "port_80_tcp", "port_80_tcp_addr", "port_80_tcp_proto"];
        let links = ServiceLinks::among(of_admin.iter().chain(&of_hookyard).map(|name| (*name).to_owned()));
        for name in of_admin.iter().chain(&of_hookyard) {
            assert!(links.include(name), "{name}");
        }
        for name in ["listen", "port_tcp", "port_80_tcp_adr", "router_port", "log", "admin_service"] {
            assert!(!links.include(name), "{name}");
        }
        let none = ServiceLinks::among(std::iter::once("port".to_owned()));
        assert!(!none.include("port"), "without a Service it is a mistake");
    }
}
