//! Every resource through the official Rust client, in its newest release and in the last before 2.0 at once:
//! `hookyard-client-rust SERVER_URL TOKEN`. Ends with `ok`, or with what was wrong.

mod receiver;

use anyhow::{Context as _, Result};

/// What the releases call differently. They have types of their own, so one scenario is compiled for each, in these names.
macro_rules! names {
    ($endpoint:ident, $event_type:ident, $app:literal, $types:ident, $change:ident, $set_headers:ident) => {
        pub mod names {
            use super::svix::api::Svix;
            use super::svix::error::Error;
            use super::svix::models::{ApplicationIn, ApplicationOut, EndpointHeadersIn, EndpointIn, EndpointOut, EventTypeOut};
            pub use super::svix::models::{$endpoint as EndpointChange, $event_type as EventTypeChange};

            pub const APP: &str = $app;
            pub const TYPE: &str = concat!($app, ".created");

            /// An endpoint that wants this type alone.
            pub fn only(endpoint: EndpointIn, event_type: &str) -> EndpointIn {
                EndpointIn { $types: Some([event_type.to_owned()].into()), ..endpoint }
            }

            pub trait Names {
                async fn change_application(&self, to: ApplicationIn) -> Result<ApplicationOut, Error>;
                async fn change_event_type(&self, to: EventTypeChange) -> Result<EventTypeOut, Error>;
                async fn change_endpoint(&self, endpoint: &str, to: EndpointChange) -> Result<EndpointOut, Error>;
                async fn set_headers(&self, endpoint: &str, to: EndpointHeadersIn) -> Result<(), Error>;
            }

            impl Names for Svix {
                async fn change_application(&self, to: ApplicationIn) -> Result<ApplicationOut, Error> {
                    self.application().$change(APP.into(), to).await
                }

                async fn change_event_type(&self, to: EventTypeChange) -> Result<EventTypeOut, Error> {
                    self.event_type().$change(TYPE.into(), to).await
                }

                async fn change_endpoint(&self, endpoint: &str, to: EndpointChange) -> Result<EndpointOut, Error> {
                    self.endpoint().$change(APP.into(), endpoint.into(), to).await
                }

                async fn set_headers(&self, endpoint: &str, to: EndpointHeadersIn) -> Result<(), Error> {
                    self.endpoint().$set_headers(APP.into(), endpoint.into(), to).await
                }
            }
        }
    };
}

mod before;
mod newest;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (server_url, token) = (arguments.next().context("SERVER_URL")?, arguments.next().context("TOKEN")?);
    tokio::try_join!(async { newest::scenario::play(&server_url, &token).await.context("the newest release") }, async {
        before::scenario::play(&server_url, &token).await.context("the last release before 2.0")
    },)?;
    println!("ok");
    Ok(())
}
