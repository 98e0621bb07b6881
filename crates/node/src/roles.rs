//! Which parts of the flow a process plays.

use std::str::FromStr;

/// What the part of a dispatcher is called.
pub const DISPATCHER: &str = "dispatcher";

/// One part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Publishing over HTTP alone, for scaling it out.
    Ingest,
    /// The whole API, publishing too.
    Admin,
    /// Events to deliveries.
    Router,
    /// Deliveries to receivers.
    Dispatcher,
    /// Everything.
    All,
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ingest" => Ok(Self::Ingest),
            "admin" => Ok(Self::Admin),
            "router" => Ok(Self::Router),
            DISPATCHER => Ok(Self::Dispatcher),
            "all" => Ok(Self::All),
            _ => Err("a role is all, ingest, admin, router or dispatcher".to_owned()),
        }
    }
}

/// A set of parts.
#[expect(clippy::struct_excessive_bools, reason = "a set of four, asked one by one")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    /// Publishing over HTTP.
    pub ingest: bool,
    /// The rest of the API.
    pub admin: bool,
    /// Events to deliveries.
    pub router: bool,
    /// Deliveries to receivers.
    pub dispatcher: bool,
}

impl Roles {
    /// Everything.
    pub const ALL: Self = Self { ingest: true, admin: true, router: true, dispatcher: true };

    /// The set of these; none means everything.
    pub fn of(roles: &[Role]) -> Self {
        if roles.is_empty() {
            return Self::ALL;
        }
        roles.iter().fold(Self::default(), |set, role| match role {
            Role::Ingest => Self { ingest: true, ..set },
            // An official client has one base URL: whoever manages also publishes there.
            Role::Admin => Self { ingest: true, admin: true, ..set },
            Role::Router => Self { router: true, ..set },
            Role::Dispatcher => Self { dispatcher: true, ..set },
            Role::All => Self::ALL,
        })
    }

    /// The names of those in the set.
    pub fn names(self) -> Vec<&'static str> {
        let all = [("ingest", self.ingest), ("admin", self.admin), ("router", self.router), (DISPATCHER, self.dispatcher)];
        all.into_iter().filter(|(_, is_in)| *is_in).map(|(name, _)| name).collect()
    }

    /// Whether the API listens.
    pub fn serves_http(self) -> bool {
        self.ingest || self.admin
    }
}
