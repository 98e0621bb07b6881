//! A token opens what its scope says and nothing else: every operation with every scope.

use anyhow::{Result, ensure};
use hookyard_e2e::{Api, Backend, World};
use reqwest::Method;
use serde_json::json;

on_both_backends! {
    every_operation_knows_every_scope;
    a_token_that_ended_or_was_made_elsewhere_opens_nothing;
}

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// Administrators alone.
    Admin,
    /// The application's own token too.
    App,
    /// The application's own token, and whoever publishes.
    Publish,
    /// Every token that is good.
    Anybody,
    /// Everybody but whoever publishes and nothing else.
    Readers,
    /// Tokens of applications, whichever.
    Apps,
}

/// Every operation there is. `{app}` is the application the token with that scope is for.
const OPERATIONS: [(&str, &str, Open); 72] = [
    ("GET", "/app", Open::Admin),
    ("POST", "/app", Open::Admin),
    ("GET", "/app/{app}", Open::App),
    ("PUT", "/app/{app}", Open::Admin),
    ("PATCH", "/app/{app}", Open::Admin),
    ("DELETE", "/app/{app}", Open::Admin),
    ("GET", "/app/{app}/endpoint", Open::App),
    ("POST", "/app/{app}/endpoint", Open::App),
    ("POST", "/app/{app}/endpoint/test", Open::App),
    ("GET", "/app/{app}/endpoint/x", Open::App),
    ("PUT", "/app/{app}/endpoint/x", Open::App),
    ("PATCH", "/app/{app}/endpoint/x", Open::App),
    ("DELETE", "/app/{app}/endpoint/x", Open::App),
    ("GET", "/app/{app}/endpoint/x/headers", Open::App),
    ("PUT", "/app/{app}/endpoint/x/headers", Open::App),
    ("PATCH", "/app/{app}/endpoint/x/headers", Open::App),
    ("GET", "/app/{app}/endpoint/x/secret", Open::App),
    ("POST", "/app/{app}/endpoint/x/secret/rotate", Open::App),
    ("GET", "/app/{app}/endpoint/x/stats", Open::App),
    ("GET", "/app/{app}/endpoint/x/stats/hourly", Open::App),
    ("GET", "/app/{app}/endpoint/x/health", Open::App),
    ("GET", "/stats?app={app}", Open::App),
    ("GET", "/stats/event-type?app={app}", Open::App),
    ("GET", "/app/{app}/endpoint/x/msg", Open::App),
    ("POST", "/app/{app}/endpoint/x/recover", Open::App),
    ("POST", "/app/{app}/endpoint/x/replay-missing", Open::App),
    ("POST", "/app/{app}/endpoint/x/send-example", Open::App),
    ("POST", "/app/{app}/endpoint/x/test", Open::App),
    ("GET", "/app/{app}/msg", Open::App),
    ("POST", "/app/{app}/msg", Open::Publish),
    ("POST", "/app/{app}/msg/batch", Open::Publish),
    ("GET", "/app/{app}/msg/{msg}", Open::App),
    ("DELETE", "/app/{app}/msg/{msg}/content", Open::App),
    ("GET", "/app/{app}/msg/{msg}/attempt/{attempt}", Open::App),
    ("DELETE", "/app/{app}/msg/{msg}/attempt/{attempt}/content", Open::App),
    ("GET", "/app/{app}/msg/{msg}/attempt", Open::App),
    ("GET", "/app/{app}/msg/{msg}/endpoint/x/attempt", Open::App),
    ("GET", "/app/{app}/msg/{msg}/endpoint", Open::App),
    ("POST", "/app/{app}/msg/{msg}/endpoint/x/resend", Open::App),
    ("GET", "/app/{app}/attempt", Open::App),
    ("GET", "/app/{app}/attempt/msg/{msg}", Open::App),
    ("GET", "/app/{app}/attempt/endpoint/x", Open::App),
    ("GET", "/app/{app}/dead-letter", Open::App),
    ("POST", "/app/{app}/dead-letter/replay", Open::App),
    ("POST", "/app/{app}/dead-letter/discard", Open::App),
    ("POST", "/dead-letter/sweep", Open::Admin),
    ("GET", "/event-type", Open::Readers),
    ("POST", "/event-type", Open::Admin),
    ("GET", "/event-type/x", Open::Readers),
    ("PUT", "/event-type/x", Open::Admin),
    ("PATCH", "/event-type/x", Open::Admin),
    ("DELETE", "/event-type/x", Open::Admin),
    ("POST", "/event-type/import", Open::Admin),
    ("GET", "/event-type/export", Open::Readers),
    ("POST", "/auth/app-portal-access/{app}", Open::Admin),
    ("POST", "/auth/dashboard-access/{app}", Open::Admin),
    ("POST", "/auth/logout", Open::Apps),
    ("GET", "/system", Open::Admin),
    ("GET", "/system/configuration", Open::Admin),
    ("GET", "/rejected", Open::Admin),
    ("POST", "/rejected/retry", Open::Admin),
    ("POST", "/rejected/discard", Open::Admin),
    // Without its endless answer: a filter that is none.
    ("GET", "/activity?app={app}&status=9", Open::App),
    // Everybody sees their own.
    ("GET", "/task", Open::Anybody),
    // Nobody can tell whose a task was that is not there.
    ("GET", "/task/{task}", Open::Anybody),
    ("GET", "/background-task", Open::Anybody),
    ("GET", "/background-task/{task}", Open::Anybody),
    ("GET", "/health", Open::Anybody),
    ("HEAD", "/health", Open::Anybody),
    ("GET", "/health/ping", Open::Anybody),
    ("HEAD", "/health/ping", Open::Anybody),
    ("GET", "/nothing/of/the/kind", Open::Anybody),
];

impl Open {
    fn opens_to(self, scope: &str) -> bool {
        match scope {
            "admin" => self != Self::Apps,
            "publish" => matches!(self, Self::Publish | Self::Anybody),
            "app:own" => self != Self::Admin,
            _ => matches!(self, Self::Anybody | Self::Readers | Self::Apps),
        }
    }
}

#[test]
fn the_table_names_every_operation_the_reference_describes() -> Result<()> {
    let description: serde_json::Value = serde_json::from_str(hookyard_node::openapi::document())?;
    let mut described = std::collections::BTreeSet::new();
    for (path, operations) in description["paths"].as_object().into_iter().flatten() {
        let path = path.replace("/api/v1", "").replace("{endpoint}", "x").replace("{name}", "x");
        let path = path.replace("{message}", "{msg}");
        let methods = operations.as_object().into_iter().flatten().map(|(method, _)| method.to_uppercase());
        described.extend(methods.map(|method| (method, path.clone())));
    }
    let bare = |path: &str| path.split('?').next().unwrap_or_default().to_owned();
    let listed = OPERATIONS.iter().filter(|(_, path, _)| !path.starts_with("/nothing"));
    let listed: std::collections::BTreeSet<_> = listed.map(|(method, path, _)| ((*method).to_owned(), bare(path))).collect();
    ensure!(listed == described, "{:?}", listed.symmetric_difference(&described).collect::<Vec<_>>());
    Ok(())
}

async fn every_operation_knows_every_scope(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    for uid in ["own", "other"] {
        api.post("/app", &json!({"name": uid, "uid": uid})).await?;
    }
    let id = |prefix: &str| format!("{prefix}_{}", "0".repeat(27));
    for scope in ["publish", "app:own", "app:other", "admin"] {
        for (method, template, open) in OPERATIONS {
            let path = template.replace("{app}", "own").replace("{msg}", &id("msg")).replace("{attempt}", &id("atmpt"));
            let path = path.replace("{task}", &id("task"));
            // A body that is nothing: whether it is read at all is what is asked.
            let body = json!([]);
            let body = matches!(method, "POST" | "PUT" | "PATCH").then_some(&body);
            // Whoever logs out or deletes the application is asked by a token of their own, and the last.
            let api = api.scoped(scope)?;
            if (scope, method, template) == ("admin", "DELETE", "/app/{app}") {
                continue;
            }
            let (status, answer) = api.try_call(Method::from_bytes(method.as_bytes())?, &path, body).await?;
            let is_open = status != 403 && status != 401;
            ensure!(is_open == open.opens_to(scope), "{scope}: {method} {template}: {status} {answer}");
            ensure!(!status.is_server_error(), "{scope}: {method} {template}: {status} {answer}");
        }
    }
    running.drain().await;
    Ok(())
}

async fn a_token_that_ended_or_was_made_elsewhere_opens_nothing(backend: Backend) -> Result<()> {
    let world = World::on(backend).await?;
    let running = world.start().await?;
    let api = Api::of(&running)?;
    for token in ["", "x", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        let (status, answer) = api.with_token(token).try_call(Method::GET, "/app", None).await?;
        ensure!(status == 401 && answer["code"] == "authentication_failed", "{token}: {status} {answer}");
    }
    running.drain().await;
    Ok(())
}
