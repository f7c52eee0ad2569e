//! Somebody else at work, on a thread and a connection of its own, so that it can act while a pass is told an outcome.
#![allow(unreachable_pub)] // a part of test files of more than one kind

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use perennial_testkit::TestDb;

/// Runs what it is given and waits for the next; what it left open ends with it.
pub struct Holder {
    orders: Option<Sender<String>>,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Holder {
    /// Connects and runs this first.
    pub fn begin(db: &TestDb, sql: &str) -> Self {
        let (orders, given) = channel::<String>();
        let (say, done) = channel();
        let db = db.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = db.client().await;
                for sql in given {
                    client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
                    say.send(()).unwrap();
                }
            });
        });
        let holder = Self { orders: Some(orders), done, thread: Some(thread) };
        holder.run(sql);
        holder
    }

    /// Runs this and waits until it has.
    pub fn run(&self, sql: &str) {
        self.orders.as_ref().unwrap().send(sql.to_owned()).unwrap();
        self.done.recv().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has shown itself, by the answer that did not come.
            let _shown = thread.join();
        }
    }
}
