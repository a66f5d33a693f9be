//! `parley chat`: two people on two terminals. Here without a terminal: lines in, lines out.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::harness::{Deployment, shared};

struct Chat {
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl Chat {
    fn start(deployment: &Deployment, node: usize, user: &str, with: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parley"));
        command.args(["chat", "--user", user, "--server", &deployment.nodes()[node], "--data"]);
        command.arg(deployment.data()).arg(with).kill_on_drop(true);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("parley starts");
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            input: child.stdin.take(),
            output,
            child,
        }
    }

    async fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("not ended yet");
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        input.flush().await.unwrap();
    }

    /// Reads lines until one holds that text.
    async fn expect(&mut self, text: &str) {
        let found = async {
            while let Some(line) = self.output.next_line().await.unwrap() {
                if line.contains(text) {
                    return;
                }
            }
            panic!("the chat ended without {text:?}");
        };
        tokio::time::timeout(Duration::from_secs(15), found)
            .await
            .unwrap_or_else(|_| panic!("no line with {text:?}"));
    }

    /// Ends its input; its exit code.
    async fn end(mut self) -> Option<i32> {
        drop(self.input.take());
        let ended = tokio::time::timeout(Duration::from_secs(15), self.child.wait()).await;
        ended.expect("it ends with its input").unwrap().code()
    }
}

#[tokio::test]
async fn two_people_talk_to_each_other() {
    let deployment = shared().await;
    let [ann, bob] = deployment.users(["ann", "bob"]).await;
    let mut anns = Chat::start(deployment, 0, &ann.id, &bob.id);
    let mut bobs = Chat::start(deployment, 1, &bob.id, &ann.id);
    anns.say("hello, it is me").await;
    bobs.expect("hello, it is me").await;
    bobs.say("and me").await;
    anns.expect("and me").await;
    assert_eq!((anns.end().await, bobs.end().await), (Some(0), Some(0)));
}

#[tokio::test]
async fn who_comes_later_sees_the_history() {
    let deployment = shared().await;
    let room = deployment.direct().await;
    room.users[0].api.say(&room.id, "said before you came").await;
    let mut bobs = Chat::start(deployment, 0, &room.users[1].id, &room.users[0].id);
    bobs.expect("said before you came").await;
}

#[tokio::test]
async fn when_its_node_dies_it_reconnects_and_loses_nothing() {
    let deployment = Deployment::start().separate().launch().await;
    let room = deployment.direct().await;
    let mut bobs = Chat::start(&deployment, 0, &room.users[1].id, &room.users[0].id);
    room.users[0].api.say(&room.id, "before").await;
    bobs.expect("before").await;
    let old = deployment.kill("connection-0");
    bobs.say("said while the node was gone").await;
    deployment.restarted("connection-0", old).await;
    deployment.answers().await;
    room.users[0].api.say(&room.id, "after").await;
    bobs.expect("after").await;
    assert_eq!(bobs.end().await, Some(0));
    let history = room.users[0].api.history_forwards(&room.id, 50).await;
    let said = history
        .iter()
        .filter(|it| it["text"] == "said while the node was gone")
        .count();
    assert_eq!(said, 1);
}
