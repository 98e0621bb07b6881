//! The scripts, read from `lua/`.

use redis::Script;

/// Every script, hashed once.
pub struct Scripts {
    pub put_app: Script,
    pub delete_app: Script,
    pub put_endpoint: Script,
    pub delete_endpoint: Script,
    pub mark: Script,
    pub record: Script,
}

impl Scripts {
    pub fn new() -> Self {
        Self {
            put_app: Script::new(include_str!("lua/put_app.lua")),
            delete_app: Script::new(include_str!("lua/delete_app.lua")),
            put_endpoint: Script::new(include_str!("lua/put_endpoint.lua")),
            delete_endpoint: Script::new(include_str!("lua/delete_endpoint.lua")),
            mark: Script::new(include_str!("lua/mark.lua")),
            record: Script::new(include_str!("lua/record.lua")),
        }
    }

    pub fn all(&self) -> [&Script; 6] {
        [&self.put_app, &self.delete_app, &self.put_endpoint, &self.delete_endpoint, &self.mark, &self.record]
    }
}
