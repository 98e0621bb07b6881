//! The scripts, read from `lua/`.

use redis::Script;

/// Every script, hashed once.
pub struct Scripts {
    pub put_app: Script,
    pub delete_app: Script,
    pub put_endpoint: Script,
    pub delete_endpoint: Script,
    pub put_event_type: Script,
    pub delete_event_type: Script,
    pub discover_event_type: Script,
    pub swap_gate: Script,
    pub put_task: Script,
    pub lease_task: Script,
    pub mark: Script,
    pub record: Script,
    pub expunge: Script,
}

impl Scripts {
    pub fn new() -> Self {
        Self {
            put_app: Script::new(concat!(include_str!("lua/version.lua"), include_str!("lua/put_app.lua"))),
            delete_app: Script::new(include_str!("lua/delete_app.lua")),
            put_endpoint: Script::new(concat!(include_str!("lua/version.lua"), include_str!("lua/put_endpoint.lua"))),
            delete_endpoint: Script::new(concat!(include_str!("lua/version.lua"), include_str!("lua/delete_endpoint.lua"))),
            put_event_type: Script::new(include_str!("lua/put_event_type.lua")),
            delete_event_type: Script::new(include_str!("lua/delete_event_type.lua")),
            discover_event_type: Script::new(include_str!("lua/discover_event_type.lua")),
            swap_gate: Script::new(include_str!("lua/swap_gate.lua")),
            put_task: Script::new(include_str!("lua/put_task.lua")),
            lease_task: Script::new(include_str!("lua/lease_task.lua")),
            mark: Script::new(include_str!("lua/mark.lua")),
            record: Script::new(include_str!("lua/record.lua")),
            expunge: Script::new(include_str!("lua/expunge.lua")),
        }
    }

    pub fn all(&self) -> [&Script; 13] {
        [
            &self.put_app,
            &self.delete_app,
            &self.put_endpoint,
            &self.delete_endpoint,
            &self.put_event_type,
            &self.delete_event_type,
            &self.discover_event_type,
            &self.swap_gate,
            &self.put_task,
            &self.lease_task,
            &self.mark,
            &self.record,
            &self.expunge,
        ]
    }
}
