//! The store, and whether it belongs to the broker.

use std::time::Duration;

use hookyard_redis::ServerFacts;
use hookyard_telemetry::Metrics;

use super::{Finding, Level};
use crate::backend;
use crate::seams::Seams;
use crate::settings::{ClusterSettings, Settings};
use crate::tools;

/// Oldest version whose commands are all there.
const OLDEST: u32 = 7;
/// Forks of Redis, and in which field of INFO they say their version.
const FORKS: [(&str, &str); 2] = [("Valkey", "valkey_version"), ("Redict", "redict_version")];
/// Clocks that differ by more make wrong orders in lists, and by still more, signatures that receivers refuse (they commonly allow
/// five minutes).
const SKEW_DOUBT: Duration = Duration::from_secs(2);
const SKEW_BAD: Duration = Duration::from_secs(60);
/// Of its limit; beyond, there is little time left.
const FULL_PERCENT: u64 = 80;

pub async fn examine(settings: &Settings, cluster: &ClusterSettings) -> Vec<Finding> {
    let store = match backend::store(settings, cluster, &Metrics::unregistered(), &Seams::default()) {
        Ok(store) => store,
        Err(fault) => return vec![Finding::bad("store", fault.chain(), "check HOOKYARD_REDIS_URL")],
    };
    let mut findings = Vec::new();
    for (holds, facts) in store.examine().await {
        match facts {
            Ok(facts) => findings.extend(judge(&facts)),
            Err(fault) => findings.push(Finding::bad(
                "store",
                format!("the {holds} does not answer: {}", fault.chain()),
                "check HOOKYARD_REDIS_URL and HOOKYARD_REDIS_JOURNAL_URL, and that the server runs",
            )),
        }
    }
    match store.seal_fits().await {
        Ok(Some(false)) => findings.push(Finding::bad(
            "secrets",
            "HOOKYARD_SECRET_KEY is not the key this store was sealed with: no endpoint's secret can be read",
            "set the key it was sealed with; after a rotation, the old one behind the new one, with a comma",
        )),
        Ok(Some(true)) => findings.push(Finding::good("secrets", "the sealing key opens what is stored")),
        Ok(None) => findings.push(Finding::unknown("secrets", "nothing was sealed yet", "")),
        Err(_) => {}
    }
    match tools::show_dataset(settings).await {
        Ok(report) if report.good => findings.push(Finding::good("dataset", report.explanation)),
        Ok(report) => findings.push(Finding::bad("dataset", "store and broker do not belong together", report.explanation)),
        Err(error) => findings.push(Finding::unknown("dataset", format!("it cannot be looked at: {error:#}"), "")),
    }
    findings
}

/// What follows from what a server says of itself.
fn judge(facts: &ServerFacts) -> Vec<Finding> {
    let field = |name: &str| facts.info.get(name).map_or("", String::as_str);
    let number = |name: &str| field(name).parse::<u64>().unwrap_or(0);
    let holds = facts.holds;
    let mut findings = Vec::new();
    // The version of Redis whose commands a server has, whatever it is.
    let major: u32 = field("redis_version").split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    let told = format!("the {holds} runs on {}", server(facts));
    findings.push(if major >= OLDEST {
        Finding::good("store", told)
    } else {
        Finding::bad("store", told, "Redis 7.0 or later is needed, or Valkey")
    });
    let mut check = |is_wrong: bool, level, told: String, remedy: &str| {
        if is_wrong {
            findings.push(Finding::new(level, "store", told, remedy));
        }
    };
    let policy = field("maxmemory_policy");
    let told = format!("the {holds} evicts keys when memory runs out (maxmemory-policy {policy}): endpoints would vanish");
    check(policy != "noeviction", Level::Bad, told, "CONFIG SET maxmemory-policy noeviction, and in its configuration file");
    let told = format!("the {holds} keeps no append-only file: what was accepted is lost with the process");
    check(field("aof_enabled") != "1", Level::Bad, told, "CONFIG SET appendonly yes, and in its configuration file");
    let told = format!("the last write of the {holds}'s append-only file failed");
    check(field("aof_last_write_status") == "err", Level::Bad, told, "look at the server's log and its disk");
    let told = format!("the {holds} is a replica");
    check(field("role") != "master", Level::Bad, told, "use the address of the primary");
    let (used, most) = (number("used_memory"), number("maxmemory"));
    let told = format!("the {holds} has used {} of its {} MB", used / 1_000_000, most / 1_000_000);
    let is_full = most > 0 && used * 100 >= most * FULL_PERCENT;
    check(
        is_full,
        Level::Doubt,
        told,
        "give it more memory, or keep the journal for a shorter time: HOOKYARD_JOURNAL__RETENTION",
    );
    findings.push(clock(facts));
    findings
}

/// What a server is, with its own version. Forks go on saying a `redis_version`, that of the Redis they left: Valkey 9.1.2 says 7.2.4.
fn server(facts: &ServerFacts) -> String {
    let own = FORKS.iter().find_map(|(name, field)| Some((*name, facts.info.get(*field)?)));
    let redis = || facts.info.get("redis_version").map_or("", String::as_str);
    own.map_or_else(|| format!("Redis {}", redis()), |(name, version)| format!("{name} {version}"))
}

fn clock(facts: &ServerFacts) -> Finding {
    let (theirs, ours) = facts.clocks;
    let skew = theirs.since(ours).max(ours.since(theirs));
    let told = format!("the clock of the {}'s machine differs from this one's by {} ms", facts.holds, skew.as_millis());
    let remedy = "let both machines follow a time server";
    match skew {
        skew if skew >= SKEW_BAD => Finding::bad("clock", told, remedy),
        skew if skew >= SKEW_DOUBT => Finding::new(Level::Doubt, "clock", told, remedy),
        _ => Finding::good("clock", told),
    }
}

#[cfg(test)]
mod tests {
    use hookyard_core::Timestamp;

    use super::*;

    fn facts(info: &[(&str, &str)], skew_s: i64) -> ServerFacts {
        let sound = [("redis_version", "7.0.15"), ("maxmemory_policy", "noeviction"), ("aof_enabled", "1"), ("role", "master")];
        let info = sound.iter().chain(info).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let now = Timestamp::from_millis(1_700_000_000_000);
        ServerFacts { holds: "directory", info, clocks: (Timestamp::from_millis(now.as_millis() + skew_s * 1_000), now) }
    }

    #[test]
    fn a_server_is_named_as_what_it_is() {
        for (info, named) in [
            (&[][..], "Redis 7.0.15"),
            (&[("redis_version", "7.2.4"), ("server_name", "valkey"), ("valkey_version", "9.1.2")], "Valkey 9.1.2"),
            (&[("redis_version", "7.2.4"), ("redict_version", "7.3.1")], "Redict 7.3.1"),
        ] {
            let told = judge(&facts(info, 0)).remove(0).told;
            assert!(told.ends_with(&format!("runs on {named}")), "{told}");
        }
    }

    /// Fields that differ, seconds the clock is off, and a word of what to do.
    type Fault = (&'static [(&'static str, &'static str)], i64, &'static str);

    #[test]
    fn a_sound_server_has_nothing_but_good_findings_and_each_fault_is_found() {
        let bad = |facts: &ServerFacts| judge(facts).into_iter().filter(|one| one.level > Level::Unknown).collect::<Vec<_>>();
        assert_eq!(bad(&facts(&[], 0)), []);
        let faults: [Fault; 7] = [
            (&[("redis_version", "6.2.1")], 0, "7.0"),
            (&[("maxmemory_policy", "allkeys-lru")], 0, "noeviction"),
            (&[("aof_enabled", "0")], 0, "appendonly"),
            (&[("aof_last_write_status", "err")], 0, "disk"),
            (&[("role", "slave")], 0, "primary"),
            (&[("used_memory", "900"), ("maxmemory", "1000")], 0, "memory"),
            (&[], -90, "time server"),
        ];
        for (info, skew, remedy) in faults {
            let found = bad(&facts(info, skew));
            assert!(found.len() == 1 && found[0].remedy.contains(remedy), "{info:?}: {found:?}");
        }
    }
}
