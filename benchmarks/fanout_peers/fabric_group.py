"""fabric: one Connection a host kept open, asked from a pool of threads."""

from concurrent.futures import ThreadPoolExecutor

from fabric import Config, Connection
from peer import COMMAND, good, job, serve

work = job()
config = Config(overrides={"load_ssh_configs": False})
connections = []
for address in work.addresses:
    one = Connection(
        address,
        user=work.user,
        port=work.port,
        config=config,
        connect_kwargs={"key_filename": work.key_file, "allow_agent": False, "look_for_keys": False},
    )
    connections.append(one)


def ask(connection: Connection) -> bool:
    return good(connection.run(COMMAND, hide=True, in_stream=False).stdout)


with ThreadPoolExecutor(work.parallel) as pool:
    serve(lambda: sum(pool.map(ask, connections)))
