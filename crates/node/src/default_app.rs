//! The application that always exists, for events that name none.

use std::collections::BTreeMap;

use hookyard_core::port::{Directory, Expect, Written};
use hookyard_core::{AppId, AppRef, Application, Clock, Entropy, Fault, FaultKind};

/// Creates it unless it is there.
pub async fn ensure(directory: &dyn Directory, clock: &dyn Clock, entropy: &dyn Entropy) -> Result<(), Fault> {
    const OPERATION: &str = "create the default application";
    let named: AppRef = AppRef::DEFAULT_UID.parse().map_err(|error| Fault::caused(FaultKind::Refused, OPERATION, error))?;
    if directory.resolve(std::slice::from_ref(&named)).await?.apps.first().copied().flatten().is_some() {
        return Ok(());
    }
    let now = clock.now();
    let app = Application {
        id: AppId::new(now, entropy),
        uid: named.into_uid(),
        name: "Default".to_owned(),
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
