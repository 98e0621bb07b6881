//! The broker, asked over AMQP.

use hookyard_rabbit::{Inspection, QueueStanding, Rabbit, Shards};

use super::Finding;
use crate::backend::rabbit_config;
use crate::roles::Roles;
use crate::settings::{ClusterSettings, Settings};

pub async fn examine(settings: &Settings, cluster: &ClusterSettings) -> Vec<Finding> {
    let config = rabbit_config(settings, cluster, Roles::default());
    let shards = Shards { fast: settings.config.amqp.shards, slow: settings.config.amqp.slow_shards };
    match Rabbit::inspect(&config, shards).await {
        Ok(inspection) => judge(&inspection, &config.prefix),
        Err(fault) => vec![Finding::bad(
            "broker",
            format!("it cannot be used: {}", fault.chain()),
            "check HOOKYARD_AMQP_URL: host, port, user, password and virtual host; the user needs configure, write and read \
             permission on what begins with the prefix",
        )],
    }
}

/// What follows from what was seen.
fn judge(inspection: &Inspection, prefix: &str) -> Vec<Finding> {
    let mut findings = vec![Finding::good("broker", "it answers over AMQP")];
    let standings = &inspection.queues;
    let absent: Vec<&str> =
        standings.iter().filter(|(_, of)| *of == QueueStanding::Absent).map(|(name, _)| name.as_str()).collect();
    if absent.len() == standings.len() {
        let told = "no queue of this prefix is there";
        findings.push(Finding::unknown("broker", told, "the first start declares them, or `hookyard topology declare`"));
    } else if !absent.is_empty() {
        let told = format!("queues are missing: {}", absent.join(", "));
        findings.push(Finding::bad("broker", told, "declare them: `hookyard topology declare`"));
    }
    for (name, standing) in standings {
        match standing {
            QueueStanding::Same | QueueStanding::Absent => {}
            QueueStanding::Different(why) => findings.push(Finding::bad(
                "broker",
                format!("{name} has other arguments than it must: {why}"),
                format!("a queue's arguments cannot change: empty {name}, delete it, and run `hookyard topology declare`"),
            )),
            QueueStanding::Forbidden(why) => findings.push(Finding::bad(
                "broker",
                format!("this user may not declare {name}: {why}"),
                format!(
                    "give it the permission: rabbitmqctl set_permissions -p VHOST USER '^{prefix}' '^({prefix}|amq\\.default$)' '^{prefix}', or \
                     declare as somebody else with `hookyard topology declare` and set HOOKYARD_AMQP__DECLARE=false"
                ),
            )),
        }
    }
    if standings.iter().all(|(_, standing)| *standing == QueueStanding::Same) {
        findings.push(Finding::good("broker", format!("all {} queues are as they must be", standings.len())));
    }
    match &inspection.publishes {
        Ok(()) => findings.push(Finding::good("broker", "it takes and confirms messages")),
        Err(why) => findings.push(Finding::bad(
            "broker",
            format!("it takes no messages: {why}"),
            "see `rabbitmq-diagnostics check_local_alarms`: free memory or disk, or raise the limits; or give this user write permission",
        )),
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn what_is_missing_or_different_is_said_with_what_to_do() {
        let queues = vec![
            ("hookyard.ingest".to_owned(), QueueStanding::Same),
            ("hookyard.dead".to_owned(), QueueStanding::Absent),
            ("hookyard.slow.0".to_owned(), QueueStanding::Different("inequivalent arg".to_owned())),
        ];
        let findings = judge(&Inspection { queues, publishes: Err("blocked".to_owned()) }, "hookyard");
        let bad: Vec<&Finding> = findings.iter().filter(|finding| finding.level == Level::Bad).collect();
        assert_eq!(bad.len(), 3);
        assert!(bad.iter().all(|finding| !finding.remedy.is_empty()));
        assert!(bad[0].told.contains("hookyard.dead") && bad[1].told.contains("inequivalent"), "{bad:?}");
    }
}
