//! Official clients, by what they call themselves: `svix-libs/1.45.1/python`.

use http::HeaderMap;
use http::header::USER_AGENT;

/// Whether this is one of a release before 2.0. Some of those take no other status than the one of their description.
pub fn is_before_2(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).and_then(|agent| agent.strip_prefix("svix-libs/"));
    let major = agent.and_then(|agent| agent.split(['.', '/']).next()?.parse::<u32>().ok());
    major.is_some_and(|major| major < 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_releases_are_known_by_their_name() {
        let is_old =
            |agent: &'static str| is_before_2(&HeaderMap::from_iter([(USER_AGENT, http::HeaderValue::from_static(agent))]));
        assert!(is_old("svix-libs/1.24.0/python") && is_old("svix-libs/0.85.1/javascript"));
        for other in ["svix-libs/2.0.0/python", "svix-libs/", "curl/8.0", "svix-libs/x.1/go", ""] {
            assert!(!is_old(other), "{other}");
        }
        assert!(!is_before_2(&HeaderMap::new()));
    }
}
