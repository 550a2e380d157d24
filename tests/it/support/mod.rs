pub(crate) mod authority;
pub(crate) mod vendor;
pub(crate) mod venv;
pub(crate) mod webhook_reference;
