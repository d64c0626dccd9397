//! A scrape of the program, over a real socket.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Child;

use serde_json::Value;

use crate::world::{World, until};

/// Ended with the test, whatever becomes of it.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 OK"), "{head}");
    body.to_owned()
}

/// Every line is a head or a sample, each sample below the head of its family, and none twice.
fn check(page: &str) {
    let (mut family, mut seen) = (String::new(), BTreeSet::new());
    for line in page.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            family = head.split(' ').next().unwrap().to_owned();
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, number) = line.rsplit_once(' ').unwrap();
        assert!(!family.is_empty() && series.starts_with(&family), "{line} below {family}");
        assert!(number.parse::<f64>().is_ok(), "{line}");
        assert!(seen.insert(series), "{line} twice");
    }
}

#[test]
fn the_page_tells_of_the_node_without_a_cluster() {
    let world = World::new();
    world.remember();
    let more = ["--metrics-address", "127.0.0.1:0", "--log-format", "json"];
    let mut agent = Agent(world.spawn(&more));
    let log = BufReader::new(agent.0.stderr.take().unwrap());
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let mut fields = lines.map(|line| line["fields"].clone());
    let served = fields.find(|fields| fields["message"] == "metrics are served").unwrap();
    let address = served["address"].as_str().unwrap();
    let ready = "ringway_devices{resource=\"ringway.dev/vms\",state=\"ready\"} 2";
    until(|| scrape(address).lines().any(|line| line == ready));
    let page = scrape(address);
    check(&page);
    for line in [
        "ringway_agent_plan_steps 0",
        "ringway_stuck_calls 0",
        "ringway_agent_collector_success{collector=\"link\"} 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}:\n{page}");
    }
}
