//! The tests' server.

use tokio_postgres::{Client, Config, NoTls};

/// Where the database is that tests are given.
pub fn given() -> Config {
    let url = std::env::var("BROOKLET_TEST_DATABASE_URL").expect(
        "this test compares with a real Postgres: set BROOKLET_TEST_DATABASE_URL, \
         as the repository's test command does",
    );
    url.parse().unwrap()
}

/// A connection of one's own.
pub async fn open(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
