//! Whose a cursor is, and where it is open.

use anyhow::Result;
use bson::doc;
use oplet_testkit::{Cluster, eventually};

use super::*;

/// How many cursors with that comment a server has open.
async fn cursors(client: &Client, comment: &str) -> Result<usize> {
    let admin = client.database("admin");
    let current = doc! { "$currentOp": { "allUsers": true, "idleCursors": true } };
    let ours = doc! { "$match": { "cursor.originatingCommand.comment": comment } };
    let mut found = admin.aggregate([current, ours]).await?;
    let mut cursors = 0;
    while found.advance().await? {
        cursors += 1;
    }
    Ok(cursors)
}

#[tokio::test]
async fn the_server_shows_whose_a_cursor_is() -> Result<()> {
    let scene = Scene::shared("comment").await?;
    let echo = oplet_testkit::guest("guest_echo")?;
    let run = oplet().arg("run").arg(echo).args(["--uri", &scene.uri]);
    let run = run.args(["--watch", scene.name(), "--name", scene.name()]);
    let _run = run.start()?;
    let comment = format!("oplet {}", scene.name());
    let shown = eventually(DEADLINE, async || {
        cursors(&scene.client, &comment)
            .await
            .is_ok_and(|found| found > 0)
    });
    shown.await?;
    Ok(())
}

#[tokio::test]
async fn a_member_is_read_as_the_connection_string_says() -> Result<()> {
    let cluster = Cluster::start(2).await?;
    let primary = cluster.primary().await?;
    let secondary = cluster.member(1 - primary);
    let uri = format!("{}&readPreference=secondary", cluster.uri());
    let tail = oplet().args(["tail", "shop", "--uri", &uri]).start()?;
    let open = async |member: &ReplicaSet| -> Result<usize> {
        let uri = format!("mongodb://{}/?directConnection=true", member.host());
        cursors(&Client::with_uri_str(uri).await?, "oplet tail").await
    };
    let shown = eventually(DEADLINE, async || {
        open(secondary).await.is_ok_and(|found| found == 1)
    });
    shown.await?;
    assert_eq!(open(cluster.member(primary)).await?, 0);
    let shop = cluster.client().await?.database("shop");
    shop.collection("c").insert_one(doc! { "_id": 1 }).await?;
    tail.wait_for_lines(1, DEADLINE).await?;
    Ok(())
}
