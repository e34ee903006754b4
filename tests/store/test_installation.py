"""A database knows which one it is."""

from concurrent.futures import ThreadPoolExecutor

from archon_batch.store import Store


def test_a_database_has_one_id_for_every_process(any_url):
    Store.open(any_url).close()

    def asked(_number):
        store = Store.open(any_url)
        try:
            return store.installation.id
        finally:
            store.close()

    with ThreadPoolExecutor(8) as threads:
        found = set(threads.map(asked, range(8)))

    assert len(found) == 1
    assert len(found.pop()) == 12


def test_two_databases_have_different_ids(tmp_path):
    stores = [Store.open(f"sqlite:///{tmp_path}/{name}.db") for name in ("one", "two")]

    assert len({store.installation.id for store in stores}) == 2
    for store in stores:
        store.close()
