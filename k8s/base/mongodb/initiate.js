// For mongosh: makes the members of HOSTS a replica set, and its users with the passwords of the files in SECRETS. What is there
// already stays as it is, but for the passwords, which become those of the files. An error ends it, and the Job tries again.
//
// It is the cluster itself to the members (`__system`, whose password is the key that they share), because no user exists before it.
const fs = require("fs");

const hosts = process.env.HOSTS.split(",");
const secret = (name) => fs.readFileSync(`${process.env.SECRETS}/${name}`, "utf8");
const key = encodeURIComponent(secret("keyfile").replace(/\s/g, ""));
const uri = (where, options) => `mongodb://__system:${key}@${where}/?authSource=local&${options}`;

const first = connect(uri(hosts[0], "directConnection=true&serverSelectionTimeoutMS=10000"));
try {
  first.adminCommand({ replSetGetStatus: 1 });
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  const members = hosts.map((host, index) => ({ _id: index, host }));
  print("initiating", hosts.join(", "));
  first.adminCommand({ replSetInitiate: { _id: "rs0", members } });
}

// By the set's name: it finds the primary, and waits for the election.
const admin = connect(uri(hosts.join(","), "replicaSet=rs0&w=majority&serverSelectionTimeoutMS=60000")).getSiblingDB("admin");
const users = [
  ["parley", [{ role: "readWrite", db: "parley" }]],
  ["backup", [{ role: "backup", db: "admin" }, { role: "restore", db: "admin" }, { role: "clusterMonitor", db: "admin" }]],
];
for (const [user, roles] of users) {
  const pwd = secret(`${user}-password`).trim();
  if (admin.getUser(user)) admin.updateUser(user, { pwd, roles });
  else admin.createUser({ user, pwd, roles });
  print("user", user);
}
