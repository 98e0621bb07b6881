//! With neither broker nor store, one process on one file is a complete, durable service.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hookyard_e2e::receiver::{Answer, Receiver};
use hookyard_e2e::world::{JWT_SECRET, SECRET_KEY};
use hookyard_e2e::{Api, eventually};
use hookyard_node::seams::SystemEntropy;
use hookyard_node::{Config, Role, Roles, Running, Seams, install_crypto, local};
use reqwest::Method;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

fn config(folder: &Path) -> Config {
    let mut config = Config {
        data_dir: folder.to_owned(),
        listen: ([127, 0, 0, 1], 0).into(),
        ops_listen: ([127, 0, 0, 1], 0).into(),
        jwt_secret: Some(JWT_SECRET.to_owned()),
        ..Config::default()
    };
    config.delivery.retry_schedule = vec![Duration::from_secs(1), Duration::from_secs(1)];
    config.delivery.timeout = Duration::from_secs(2);
    config.delivery.allow_networks = vec!["127.0.0.0/8".to_owned()];
    config
}

async fn start(folder: &Path) -> Result<Running> {
    install_crypto();
    let mut config = config(folder);
    local::create(&mut config, &SystemEntropy::default())?;
    let running = hookyard_node::start(&config.judge()?, Roles::ALL, Seams::default()).await?;
    eventually("it is ready", async || running.is_ready().await).await?;
    Ok(running)
}

async fn publish(api: &Api, id: &str) -> Result<String> {
    let message = json!({"eventType": "user.created", "eventId": id, "payload": {"id": id}});
    let published = api.post("/app/acme/msg", &message).await?;
    published["id"].as_str().map(str::to_owned).context("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_signed_are_retried_and_end_as_dead_letters() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let receiver = Receiver::start(|hit, earlier| match hit.path.as_str() {
        "/twice" if earlier < 2 => Answer::Status(503),
        "/never" => Answer::Status(500),
        _ => Answer::Status(204),
    })
    .await?;
    let running = start(folder.path()).await?;
    let api = Api::of(&running)?;
    api.call(Method::PUT, "/app/acme", Some(&json!({"name": "Acme"}))).await?;
    let mut endpoints = Vec::new();
    for path in ["/ok", "/twice", "/never"] {
        endpoints.push(api.endpoint("acme", &receiver.url(path), json!({})).await?);
    }
    let secret = api.secret("acme", &endpoints[0]).await?;
    let id = publish(&api, "e-1").await?;
    eventually("every attempt was made", async || receiver.hits().len() == 7).await?;
    for hit in receiver.hits() {
        ensure!(hit.id == id, "{hit:?}");
    }
    let ok = receiver.hits().into_iter().find(|hit| hit.path == "/ok").context("a hit")?;
    Webhook::new(&secret)?.verify(&ok.body, &ok.headers)?;
    let attempts = async || api.get(&format!("/app/acme/attempt/msg/{id}")).await;
    eventually("every attempt is in the log", async || {
        attempts().await.is_ok_and(|page| page["data"].as_array().is_some_and(|data| data.len() == 7))
    })
    .await?;
    let (status, known) = api
        .try_call(Method::POST, "/app/acme/msg", Some(&json!({"eventType": "user.created", "eventId": "e-1", "payload": {}})))
        .await?;
    ensure!(status == 409, "{status} {known}");
    running.drain().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_goes_on_after_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let receiver =
        Receiver::start(|_, earlier| if earlier == 0 { Answer::Late(204, Duration::from_secs(30)) } else { Answer::Status(204) })
            .await?;
    let running = start(folder.path()).await?;
    let api = Api::of(&running)?;
    api.call(Method::PUT, "/app/acme", Some(&json!({"name": "Acme"}))).await?;
    api.endpoint("acme", &receiver.url("/hook"), json!({})).await?;
    let id = publish(&api, "e-1").await?;
    eventually("the first attempt is under way", async || !receiver.hits().is_empty()).await?;
    running.close().await;
    let running = start(folder.path()).await?;
    let api = Api::of(&running)?;
    eventually("it arrives after the restart", async || receiver.hits().len() >= 2).await?;
    ensure!(receiver.hits().iter().all(|hit| hit.id == id));
    let delivered = async || {
        let page: Result<Value> = api.get(&format!("/app/acme/attempt/msg/{id}")).await;
        page.is_ok_and(|page| page["data"].as_array().is_some_and(|data| data.iter().any(|attempt| attempt["status"] == 0)))
    };
    eventually("the delivery is in the log", delivered).await?;
    running.drain().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_used_and_a_role_alone_are_told_clearly() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let running = start(folder.path()).await?;
    let mut second = config(folder.path());
    local::create(&mut second, &SystemEntropy::default())?;
    let second = second.judge()?;
    let told = |result: Result<Running>| result.err().map(|error| format!("{error:#}")).unwrap_or_default();
    let refused = told(hookyard_node::start(&second, Roles::ALL, Seams::default()).await);
    ensure!(refused.contains("another process is using the data folder"), "{refused}");
    let refused = told(hookyard_node::start(&second, Roles::of(&[Role::Router]), Seams::default()).await);
    ensure!(refused.contains("leave out --role"), "{refused}");
    running.drain().await;
    let mode = std::fs::metadata(folder.path().join("secret.key"))?.permissions().mode();
    ensure!(mode & 0o777 == 0o600, "{mode:o}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_is_told_clearly() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Below a file there can be no folder, whoever asks: the super-user may write where permissions say no.
    let file = folder.path().join("file");
    std::fs::write(&file, "")?;
    let mut unusable = config(&file.join("data"));
    let refused = match local::create(&mut unusable, &SystemEntropy::default()) {
        Err(error) => format!("{error:#}"),
        Ok(()) => String::new(),
    };
    ensure!(refused.contains("data folder") && refused.contains("file/data"), "{refused}");
    let keys = config(folder.path());
    let mut unusable = Config { data_dir: file.join("data"), secret_key: Some(SECRET_KEY.to_owned()), ..keys };
    local::create(&mut unusable, &SystemEntropy::default())?;
    let refused = hookyard_node::start(&unusable.judge()?, Roles::ALL, Seams::default()).await;
    let refused = refused.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(refused.contains("cannot use the data folder"), "{refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_accepted_message_by_message() -> Result<()> {
    let (folder, receiver) = (tempfile::tempdir()?, Receiver::start(|_, _| Answer::Status(204)).await?);
    let running = start(folder.path()).await?;
    let api = Api::of(&running)?;
    api.call(Method::PUT, "/app/acme", Some(&json!({"name": "Acme"}))).await?;
    api.endpoint("acme", &receiver.url("/hook"), json!({})).await?;
    publish(&api, "known").await?;
    let message = |id: &str| json!({"eventType": "user.created", "eventId": id, "payload": {"id": id}});
    let messages = [message("one"), message("known"), json!({"eventType": "a b", "payload": {}}), message("two"), json!(7)];
    let answer = api.post("/app/acme/msg/batch", &json!({"messages": messages})).await?;
    let statuses: Vec<_> = answer["results"].as_array().context("results")?.iter().map(|one| one["status"].clone()).collect();
    ensure!(statuses == [202, 409, 422, 202, 422], "{answer}");
    ensure!(answer["results"][1]["error"]["code"] == "conflict", "{answer}");
    let expected = [0, 3].map(|index: usize| answer["results"][index]["message"]["id"].as_str().map(str::to_owned));
    eventually("both arrive", async || {
        expected.iter().flatten().all(|id| receiver.hits().iter().any(|hit| hit.id == *id)) && receiver.hits().len() == 3
    })
    .await?;
    let many: Vec<Value> = (0..101).map(|number| message(&number.to_string())).collect();
    let (status, _) = api.try_call(Method::POST, "/app/acme/msg/batch", Some(&json!({"messages": many}))).await?;
    ensure!(status == 422, "{status}");
    let unknown = json!({"messages": [message("known")], "idempotent": true});
    let (status, _) = api.try_call(Method::POST, "/app/acme/msg/batch", Some(&unknown)).await?;
    ensure!(status == 422, "{status}");
    running.drain().await;
    Ok(())
}

/// As a cluster refuses another key: a new one would let everything be accepted, and open no endpoint's secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_its_key_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let hookyard = |arguments: &[&str]| -> Result<(bool, String)> {
        let mut command = std::process::Command::new(hookyard_e2e::process::program("hookyard")?);
        let output = command.args(arguments).env_clear().env("HOOKYARD_DATA_DIR", &data).output()?;
        Ok((output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()))
    };
    std::fs::create_dir(&data)?;
    std::fs::write(data.join("hookyard.db"), [])?;
    for command in ["run", "doctor"].map(|name| vec![name]).into_iter().chain([vec!["config", "check"]]) {
        let (worked, said) = hookyard(&command)?;
        ensure!(!worked && said.contains("restore secret.key"), "{command:?}: {said}");
    }
    ensure!(!data.join("secret.key").exists(), "no new key was made");
    Ok(())
}
