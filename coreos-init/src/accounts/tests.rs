use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ncore:x:500:500:The owner:/home/core:/bin/bash\nnobody:x:65534:65534::/nonexistent:/bin/false\n";
const GROUP: &str = "root:x:0:\nusers:x:100:\nwheel:x:10:root\ndocker:x:998:core\ncore:x:500:\n";
const SHADOW: &str = "root:*:19000:0:99999:7:::\ncore:*:19000:0:99999:7:::\n";
const GSHADOW: &str = "root:*::\nusers:*::\nwheel:!::root\ndocker:!::core\ncore:!::\n";

fn machine() -> Accounts {
    Accounts::parse(PASSWD, GROUP, SHADOW, Some(GSHADOW))
}

fn bob() -> Account<'static> {
    Account {
        name: "bob",
        password: None,
        comment: "",
        home: "/home/bob",
        shell: "/bin/bash",
        group: PrimaryGroup::Own,
        system: false,
        uid: None,
    }
}

fn create(accounts: &mut Accounts, account: &Account<'_>) -> Result<(), Problem> {
    accounts.create(account, None, &BTreeSet::new())
}

fn text(accounts: &Accounts, database: Database) -> String {
    accounts.changed().into_iter().find(|(d, _)| *d == database).map(|(_, t)| t).unwrap_or_default()
}

fn added(accounts: &Accounts, database: Database, before: &str) -> String {
    text(accounts, database).strip_prefix(before).unwrap().to_string()
}

#[test]
fn a_new_account_is_one_line_in_each_database() {
    let mut accounts = machine();
    create(&mut accounts, &bob()).unwrap();
    let order: Vec<_> = accounts.changed().into_iter().map(|(database, _)| database).collect();
    assert_eq!(order, [Database::Group, Database::Gshadow, Database::Shadow, Database::Passwd]);
    let of = |database, before| added(&accounts, database, before);
    assert_eq!(of(Database::Passwd, PASSWD), "bob:x:1000:1000::/home/bob:/bin/bash\n");
    assert_eq!(of(Database::Group, GROUP), "bob:x:1000:\n");
    assert_eq!(of(Database::Shadow, SHADOW), "bob:*::0:99999:7:::\n");
    assert_eq!(of(Database::Gshadow, GSHADOW), "bob:!::\n");
}

#[test]
fn the_group_is_the_one_asked_for() {
    for (group, gid) in [
        (PrimaryGroup::Users, 100),
        (PrimaryGroup::Named("wheel"), 10),
        (PrimaryGroup::Named("998"), 998),
    ] {
        let mut accounts = machine();
        create(&mut accounts, &Account { group, ..bob() }).unwrap();
        assert_eq!(accounts.user("bob").unwrap().gid, gid, "{group:?}");
        assert_eq!(text(&accounts, Database::Group), "", "{group:?}");
    }
}

#[test]
fn ids_are_the_next_that_nobody_has_or_had() {
    let mut accounts = machine();
    let names = ["a", "b", "c"];
    for (name, reserved) in names.iter().zip([vec![], vec![], vec![1002, 1003]]) {
        let account = Account { name, ..bob() };
        accounts.create(&account, None, &reserved.into_iter().collect()).unwrap();
    }
    let uids: Vec<_> = names.iter().map(|name| accounts.user(name).unwrap().uid).collect();
    assert_eq!(uids, [1000, 1001, 1004]);
}

#[test]
fn system_accounts_count_downward_past_groups() {
    let mut accounts = machine();
    for name in ["a", "b"] {
        create(&mut accounts, &Account { name, system: true, ..bob() }).unwrap();
    }
    // 998 is docker's group.
    assert_eq!(accounts.user("a").unwrap().uid, 999);
    assert_eq!(accounts.user("b").unwrap().uid, 997);
}

#[test]
fn an_account_that_comes_back_gets_its_old_id() {
    let mut accounts = machine();
    let reserved = [1007].into();
    accounts.create(&bob(), Some(1007), &reserved).unwrap();
    assert_eq!(accounts.user("bob").unwrap().uid, 1007);
    accounts.create(&Account { name: "eve", ..bob() }, Some(1007), &reserved).unwrap();
    assert_eq!(accounts.user("eve").unwrap().uid, 1008);
}

#[test]
fn a_group_left_by_an_interrupted_run_is_taken_up() {
    let group = format!("{GROUP}bob:x:1000:\n");
    let mut accounts = Accounts::parse(PASSWD, &group, SHADOW, None);
    assert_eq!(create(&mut accounts, &bob()), Err(Problem::GroupExists("bob".into())));
    accounts.create(&bob(), Some(1000), &BTreeSet::new()).unwrap();
    assert_eq!(accounts.user("bob").unwrap().gid, 1000);
    assert_eq!(text(&accounts, Database::Group), "");

    let mut accounts = Accounts::parse(PASSWD, &group, SHADOW, None);
    accounts.remove("bob", 1000);
    assert_eq!(text(&accounts, Database::Group), GROUP);
}

#[test]
fn refused_accounts_change_nothing() {
    let cases = [
        (Account { name: "docker", ..bob() }, Problem::GroupExists("docker".into())),
        (Account { group: PrimaryGroup::Named("sudo"), ..bob() }, Problem::NoGroup("sudo".into())),
        (Account { name: "../x", ..bob() }, Problem::Name("../x".into())),
        (Account { name: "-x", ..bob() }, Problem::Name("-x".into())),
        (Account { name: "", ..bob() }, Problem::Name(String::new())),
        (Account { comment: "a:b", ..bob() }, Problem::Unwritable { field: "gecos" }),
        (Account { comment: "a\nroot::0:0", ..bob() }, Problem::Unwritable { field: "gecos" }),
        (Account { password: Some("x:0"), ..bob() }, Problem::Unwritable { field: "passwd" }),
        (
            Account { shell: "bash", ..bob() },
            Problem::NotAbsolute { field: "shell", value: "bash".into() },
        ),
    ];
    for (account, problem) in cases {
        let mut accounts = machine();
        assert_eq!(create(&mut accounts, &account), Err(problem), "{account:?}");
        assert!(accounts.changed().is_empty(), "{account:?}");
    }
}

#[test]
fn a_password_moves_into_shadow() {
    let mut accounts = Accounts::parse("old:secret:5:5::/:/bin/sh\n", "", "", None);
    accounts.set_password("old", "$6$salt$hash").unwrap();
    assert_eq!(text(&accounts, Database::Passwd), "old:x:5:5::/:/bin/sh\n");
    assert_eq!(text(&accounts, Database::Shadow), "old:$6$salt$hash::0:99999:7:::\n");
    assert_eq!(accounts.password("old").unwrap(), "$6$salt$hash");
    assert!(accounts.set_password("old", "a\nroot::").is_err());
}

#[test]
fn membership_stands_in_group_and_gshadow() {
    let mut accounts = machine();
    accounts.join("docker", "bob").unwrap();
    assert_eq!(accounts.join("sudo", "bob"), Err(Problem::NoGroup("sudo".into())));
    assert!(text(&accounts, Database::Group).contains("docker:x:998:core,bob\n"));
    assert!(text(&accounts, Database::Gshadow).contains("docker:!::core,bob\n"));
    assert!(accounts.is_member("docker", "bob"));
    accounts.leave("docker", "bob");
    assert!(!accounts.is_member("docker", "bob"));
}

#[test]
fn an_update_keeps_ids_and_password() {
    let mut accounts = machine();
    let again = Account { comment: "Core", shell: "/bin/sh", home: "/home/core", ..bob() };
    accounts.update(&Account { name: "core", ..again }).unwrap();
    assert!(text(&accounts, Database::Passwd).contains("core:x:500:500:Core:/home/core:/bin/sh\n"));
    assert_eq!(text(&accounts, Database::Shadow), "");
}

#[test]
fn removing_undoes_creating() {
    let mut accounts = machine();
    create(&mut accounts, &bob()).unwrap();
    accounts.join("wheel", "bob").unwrap();
    accounts.remove("bob", 1000);
    assert_eq!(text(&accounts, Database::Passwd), PASSWD);
    assert_eq!(text(&accounts, Database::Group), GROUP);
    assert_eq!(text(&accounts, Database::Shadow), SHADOW);
    assert_eq!(text(&accounts, Database::Gshadow), GSHADOW);
}

#[test]
fn a_group_that_others_use_stays() {
    let mut accounts = machine();
    create(&mut accounts, &bob()).unwrap();
    let eve = Account { name: "eve", group: PrimaryGroup::Named("bob"), ..bob() };
    create(&mut accounts, &eve).unwrap();
    accounts.remove("bob", 1000);
    assert_eq!(accounts.group("bob"), Some(1000));
}
