//! What only root can arrange: file systems of its own, and processes of other users.

mod other_user;
mod small_disks;
