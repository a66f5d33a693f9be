//! What the servers of a [`Cluster`](super::Cluster) are told.

use std::path::Path;

/// The file of one of the NATS servers: its ports for clients, for the others and for questions. Whoever does not log in is
/// the operator: tests, and tools.
pub fn nats_configuration(number: usize, folder: &Path, [port, route, monitor]: [u16; 3], routes: &[String]) -> String {
    let (store, log, routes) = (folder.join("jetstream"), folder.join("log"), routes.join(", "));
    format!(
        "server_name: n{number}\n\
         listen: \"127.0.0.1:{port}\"\n\
         http: \"127.0.0.1:{monitor}\"\n\
         log_file: \"{}\"\n\
         jetstream {{ store_dir: \"{}\", sync_interval: always }}\n\
         cluster {{ name: parley, listen: \"127.0.0.1:{route}\", routes: [{routes}] }}\n\
         max_payload: 8MB\n\
         max_pending: 256MB\n\
         include \"permissions.conf\"\n\
         no_auth_user: operator\n",
        log.display(),
        store.display()
    )
}

/// The command line of one of the MongoDB servers.
pub fn mongod_arguments(folder: &Path, port: u16) -> Vec<String> {
    let port = port.to_string();
    let (db, log) = (folder.join("db"), folder.join("log"));
    std::fs::create_dir_all(&db).expect("a folder for the files");
    let fixed = [
        "--replSet=rs0",
        "--bind_ip=127.0.0.1",
        "--wiredTigerCacheSizeGB=0.25",
        "--oplogSize=128",
        "--quiet",
        "--nounixsocket",
        "--setParameter=diagnosticDataCollectionEnabled=false",
    ];
    let fixed = fixed.into_iter().map(str::to_owned);
    let own = [
        "--port",
        &port,
        "--dbpath",
        &db.display().to_string(),
        "--logpath",
        &log.display().to_string(),
    ]
    .map(str::to_owned);
    fixed.chain(own).collect()
}
