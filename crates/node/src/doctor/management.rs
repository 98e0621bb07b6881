//! What only the broker's management API says: version, alarms, limits, feature flags, and policies that beat our queues' arguments.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use super::{Finding, Level};
use crate::settings::{ClusterSettings, Settings};

/// Where the management API listens unless said otherwise, without and with TLS.
const PORT: u16 = 15_672;
const TLS_PORT: u16 = 15_671;
/// A broker that stops taking messages only when so little is left may stop for good: its own log and snapshots need room, too.
const DISK_LIMIT_LEAST: u64 = 1_000_000_000;
/// Keys of a policy that change what our queues promise.
const DANGEROUS: [&str; 8] = [
    "overflow",
    "message-ttl",
    "expires",
    "max-length",
    "max-length-bytes",
    "delivery-limit",
    "dead-letter-strategy",
    "dead-letter-exchange",
];

/// Answers of the management API, as they came.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// `/api/overview`.
    pub overview: Value,
    /// `/api/nodes`.
    pub nodes: Value,
    /// `/api/queues/VHOST`.
    pub queues: Value,
    /// `/api/feature-flags`.
    pub feature_flags: Value,
}

/// Where the management API is, with its credentials, and the virtual host: as configured, or on the broker's host.
pub fn url(settings: &Settings, cluster: &ClusterSettings) -> Option<(Url, String)> {
    let broker = Url::parse(&cluster.amqp_url).ok()?;
    let vhost = match broker.path().trim_start_matches('/') {
        "" => "%2f".to_owned(),
        vhost => vhost.to_owned(),
    };
    if let Some(configured) = &settings.config.amqp.management_url {
        return Some((Url::parse(configured).ok()?, vhost));
    }
    // Where the broker is spoken to over TLS, its password does not go without.
    let (scheme, port) = if broker.scheme() == "amqps" { ("https", TLS_PORT) } else { ("http", PORT) };
    let mut url = Url::parse(&format!("{scheme}://{}:{port}/", broker.host_str()?)).ok()?;
    url.set_username(broker.username()).ok()?;
    url.set_password(broker.password()).ok()?;
    Some((url, vhost))
}

/// What follows from the answers for an installation with this prefix.
pub fn judge(answers: &Answers, prefix: &str) -> Vec<Finding> {
    let version = answers.overview["rabbitmq_version"].as_str().unwrap_or_default();
    let mut findings = vec![judge_version(version)];
    findings.extend(judge_flags(version, &answers.feature_flags));
    for node in answers.nodes.as_array().into_iter().flatten() {
        findings.extend(judge_node(node));
    }
    let queues = answers.queues.as_array().into_iter().flatten();
    let ours = queues.filter(|queue| queue["name"].as_str().is_some_and(|name| name.starts_with(&format!("{prefix}."))));
    let by_policy = judge_policies(ours);
    if by_policy.is_empty() {
        findings.push(Finding::good("broker", "no policy changes what the queues promise"));
    }
    findings.extend(by_policy);
    findings
}

/// Major, minor, patch.
fn parts(version: &str) -> (u32, u32, u32) {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

fn judge_version(version: &str) -> Finding {
    let told = format!("it is RabbitMQ {version}");
    match parts(version) {
        number if number < (3, 10, 0) => {
            Finding::bad("broker", told, "3.10 or later is needed: earlier ones dead-letter at most once")
        }
        (3, 13, patch) if patch < 3 => Finding::bad("broker", told, "within 3.13 use 3.13.3 or later"),
        _ => Finding::good("broker", told),
    }
}

/// On 3.10 and 3.11, dead-lettering between quorum queues is safe only with this flag on.
fn judge_flags(version: &str, flags: &Value) -> Option<Finding> {
    let (major, minor, _) = parts(version);
    let flag = flags.as_array()?.iter().find(|flag| flag["name"] == "stream_queue")?;
    let is_off = (major, minor) < (3, 12) && flag["state"] != "enabled";
    is_off.then(|| {
        Finding::bad(
            "broker",
            "the feature flag stream_queue is off: what leaves a delay tier may be lost",
            "rabbitmqctl enable_feature_flag stream_queue",
        )
    })
}

fn judge_node(node: &Value) -> Vec<Finding> {
    let name = node["name"].as_str().unwrap_or("a node");
    let mut findings = Vec::new();
    if node["running"] == false {
        findings.push(Finding::bad("broker", format!("{name} does not run"), "start it again"));
        return findings;
    }
    let alarms =
        [("mem_alarm", "memory", "free memory, or raise vm_memory_high_watermark"), ("disk_free_alarm", "disk", "free disk")];
    for (field, what, remedy) in alarms {
        if node[field] == true {
            findings.push(Finding::bad("broker", format!("{name} has an alarm over its {what}: it takes no messages"), remedy));
        }
    }
    if node["partitions"].as_array().is_some_and(|partitions| !partitions.is_empty()) {
        findings.push(Finding::bad(
            "broker",
            format!("{name} is cut off from others of its cluster"),
            "mend the network, then see RabbitMQ's guide to partitions",
        ));
    }
    let limit = node["disk_free_limit"].as_u64().unwrap_or(u64::MAX);
    if limit < DISK_LIMIT_LEAST {
        let told = format!("{name} goes on until only {} MB of disk are free", limit / 1_000_000);
        findings.push(Finding::new(Level::Doubt, "broker", told, "set disk_free_limit.absolute = 2GB or more in rabbitmq.conf"));
    }
    if findings.is_empty() {
        findings.push(Finding::good("broker", format!("{name} has no alarm")));
    }
    findings
}

/// A policy beats a queue's argument for overflow, and of TTLs, lengths and limits the smaller one counts.
fn judge_policies<'a>(queues: impl Iterator<Item = &'a Value>) -> Vec<Finding> {
    let mut set: BTreeMap<(&str, &str, String), Vec<&str>> = BTreeMap::new();
    for queue in queues {
        let name = queue["name"].as_str().unwrap_or_default();
        let policy = ["policy", "operator_policy"].into_iter().find_map(|kind| queue[kind].as_str()).unwrap_or("of an operator");
        for (key, value) in queue["effective_policy_definition"].as_object().into_iter().flatten() {
            if DANGEROUS.contains(&key.as_str()) {
                set.entry((policy, key, value.to_string())).or_default().push(name);
            }
        }
    }
    let finding = |((policy, key, value), names): ((&str, &str, String), Vec<&str>)| {
        let first = names.first().copied().unwrap_or_default();
        let others = if names.len() > 1 { format!(" and {} more", names.len() - 1) } else { String::new() };
        Finding::bad(
            "broker",
            format!("the policy {policy} sets {key} to {value} on {first}{others}: messages may be dropped there"),
            format!("narrow the pattern of {policy} so that it leaves out what begins with the prefix, or delete it"),
        )
    };
    set.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sound() -> Answers {
        Answers {
            overview: json!({"rabbitmq_version": "3.12.4"}),
            nodes: json!([{"name": "rabbit@a", "running": true, "mem_alarm": false, "disk_free_alarm": false, "disk_free_limit": 2_000_000_000_u64, "partitions": []}]),
            queues: json!([{"name": "hookyard.ingest", "policy": "ha", "effective_policy_definition": {"queue-leader-locator": "balanced"}},
                           {"name": "other.queue", "policy": "short", "effective_policy_definition": {"message-ttl": 5}}]),
            feature_flags: json!([{"name": "stream_queue", "state": "enabled"}]),
        }
    }

    fn wrong(answers: &Answers) -> Vec<Finding> {
        judge(answers, "hookyard").into_iter().filter(|finding| finding.level > Level::Unknown).collect()
    }

    type Fault = (&'static str, fn(&mut Answers));

    #[test]
    fn a_sound_broker_has_nothing_but_good_findings_and_each_fault_is_found() {
        assert_eq!(wrong(&sound()), []);
        let faults: [Fault; 9] = [
            ("3.10 or later", |of| of.overview = json!({"rabbitmq_version": "3.9.27"})),
            ("3.13.3", |of| of.overview = json!({"rabbitmq_version": "3.13.1"})),
            ("enable_feature_flag", |of| {
                of.overview = json!({"rabbitmq_version": "3.10.8"});
                of.feature_flags = json!([{"name": "stream_queue", "state": "disabled"}]);
            }),
            ("memory", |of| of.nodes[0]["mem_alarm"] = json!(true)),
            ("free disk", |of| of.nodes[0]["disk_free_alarm"] = json!(true)),
            ("disk_free_limit", |of| of.nodes[0]["disk_free_limit"] = json!(50_000_000)),
            ("network", |of| of.nodes[0]["partitions"] = json!(["rabbit@b"])),
            ("start it", |of| of.nodes[0]["running"] = json!(false)),
            ("narrow the pattern", |of| of.queues[0]["effective_policy_definition"] = json!({"overflow": "drop-head"})),
        ];
        for (remedy, break_it) in faults {
            let mut answers = sound();
            break_it(&mut answers);
            let found = wrong(&answers);
            assert!(found.len() == 1 && found[0].remedy.contains(remedy), "{remedy}: {found:?}");
        }
    }
}
