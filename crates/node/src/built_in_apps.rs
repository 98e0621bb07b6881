//! The applications that always exist: one for events that name none, and one whose events tell of the installation itself.

use std::collections::BTreeMap;

use hookyard_core::port::{Directory, Expect, Written};
use hookyard_core::{AppId, AppRef, Application, Clock, Entropy, Fault, FaultKind};
use hookyard_operations::OPERATIONS_UID;

const NAMES: [(&str, &str); 2] = [(AppRef::DEFAULT_UID, "Default"), (OPERATIONS_UID, "Hookyard operations")];

/// Creates those that are not there.
pub async fn ensure(directory: &dyn Directory, clock: &dyn Clock, entropy: &dyn Entropy) -> Result<(), Fault> {
    for (uid, name) in NAMES {
        ensure_one(directory, clock, entropy, uid, name).await?;
    }
    Ok(())
}

async fn ensure_one(
    directory: &dyn Directory,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    uid: &str,
    name: &str,
) -> Result<(), Fault> {
    const OPERATION: &str = "create an application that always exists";
    let named: AppRef = uid.parse().map_err(|error| Fault::caused(FaultKind::Refused, OPERATION, error))?;
    if directory.resolve(std::slice::from_ref(&named)).await?.apps.first().copied().flatten().is_some() {
        return Ok(());
    }
    let now = clock.now();
    let app = Application {
        id: AppId::new(now, entropy),
        uid: named.into_uid(),
        name: name.to_owned(),
        disabled: false,
        throttle_rate: None,
        metadata: BTreeMap::new(),
        created_at: now,
        updated_at: now,
        revision: 0,
    };
    match directory.put_app(&app, Expect::New).await? {
        Written::Done(_) | Written::UidTaken => Ok(()),
        Written::Conflict | Written::NoApp => Err(Fault::new(FaultKind::Contended, OPERATION)),
    }
}
