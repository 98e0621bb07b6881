//! The data folder's own secrets: what a process without broker and store seals and signs with unless configured.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use hookyard_core::Entropy;
use hookyard_core::seal::SealingKeys;

use crate::config::Config;
use crate::load::Origin;

const SECRET_KEY: &str = "secret.key";
const JWT_SECRET: &str = "jwt.secret";

/// Fills in what the folder holds and the configuration does not.
pub fn fill_in(config: &mut Config) -> Result<()> {
    if config.is_embedded() {
        let (secret_key, jwt_secret) = (config.data_dir.join(SECRET_KEY), config.data_dir.join(JWT_SECRET));
        if config.secret_key.is_none() {
            config.secret_key = read(&secret_key)?;
            config.origins.note("secret_key", Origin::DataFolder(secret_key));
        }
        if config.jwt_secret.is_none() {
            config.jwt_secret = read(&jwt_secret)?;
            config.origins.note("jwt_secret", Origin::DataFolder(jwt_secret));
        }
    }
    Ok(())
}

/// Fills in what the first start would make, for a look at the configuration; whether something had to be.
///
/// # Errors
/// When the folder was sealed with a key that is not there.
pub fn assume(config: &mut Config) -> Result<bool> {
    let is_first_start = config.is_embedded() && (config.secret_key.is_none() || config.jwt_secret.is_none());
    if is_first_start {
        expect_key(config)?;
        let any = || "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned();
        config.secret_key.get_or_insert_with(any);
        config.jwt_secret.get_or_insert_with(any);
    }
    Ok(is_first_start)
}

/// Where there is a file, there must be its key: a new one would open nothing of it.
fn expect_key(config: &Config) -> Result<()> {
    let folder = &config.data_dir;
    ensure!(
        config.secret_key.is_some() || !folder.join(hookyard_embedded::FILE).exists(),
        "the data folder {} holds {} and not the key its secrets are sealed with: restore {SECRET_KEY} beside it, or set HOOKYARD_SECRET_KEY",
        folder.display(),
        hookyard_embedded::FILE
    );
    Ok(())
}

/// Fills in what is missing, and makes in the folder what it does not hold: readable by its owner alone.
///
/// # Errors
/// When the folder cannot be made, read or written, or was sealed with a key that is not there.
pub fn create(config: &mut Config, entropy: &dyn Entropy) -> Result<()> {
    fill_in(config)?;
    if !config.is_embedded() || (config.secret_key.is_some() && config.jwt_secret.is_some()) {
        return Ok(());
    }
    expect_key(config)?;
    let folder = config.data_dir.clone();
    let made = hookyard_embedded::make_folder(&folder);
    made.with_context(|| format!("cannot make the data folder {}", folder.display()))?;
    if config.secret_key.is_none() {
        config.secret_key = Some(write(&folder.join(SECRET_KEY), SealingKeys::generate(entropy))?);
    }
    if config.jwt_secret.is_none() {
        // 32 random bytes in base64, as a sealing key is.
        config.jwt_secret = Some(write(&folder.join(JWT_SECRET), SealingKeys::generate(entropy))?);
    }
    Ok(())
}

fn read(file: &Path) -> Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

/// Writes a secret that is not there yet; what another process wrote meanwhile stays.
fn write(file: &Path, secret: String) -> Result<String> {
    let context = || format!("cannot write {}", file.display());
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(mut created) => {
            writeln!(created, "{secret}").and_then(|()| created.sync_all()).with_context(context)?;
            Ok(secret)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(read(file)?.unwrap_or(secret)),
        Err(error) => Err(error).with_context(context),
    }
}
