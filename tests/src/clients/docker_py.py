"""A story by docker-py, which reads keys that other clients only probe. Any difference ends it with a traceback."""

import io
import tarfile
import threading

import docker
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

client = docker.from_env(timeout=60)
assert client.ping()
assert client.version()["Os"] == "linux"
assert client.info()["OSType"] == "linux"

image = client.images.pull("busybox", tag="latest")
assert "busybox:latest" in image.tags, image.tags
assert image.history() and image.attrs["RootFS"]["Layers"]
assert [each.id for each in client.images.list("busybox")] == [image.id]
try:
    client.images.get("nothing-of-the-kind")
    raise AssertionError("an image that is not there")
except ImageNotFound:
    pass

# run: output, errors, exit codes.
assert client.containers.run("busybox", ["echo", "hello"], remove=True) == b"hello\n"
try:
    client.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
    raise AssertionError("a failure that is none")
except ContainerError as error:
    assert error.exit_status == 3 and b"bad" in error.stderr, error

# A life in the background, with everything that is said of it.
seen = []
events = client.events(decode=True, filters={"type": "container"})
threading.Thread(target=lambda: seen.extend(event["Action"] for event in events), daemon=True).start()
isle = client.containers.run(
    "busybox",
    ["sh", "-c", "echo begun; exec sleep 1000"],
    detach=True,
    name="isle",
    environment={"A": "b"},
    labels={"kind": "test"},
    volumes={"store": {"bind": "/data", "mode": "rw"}},
    tmpfs={"/scratch": "size=1m"},
    hostname="box",
    restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
)
isle.reload()
assert isle.status == "running" and isle.labels["kind"] == "test", isle.attrs
assert isle.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
assert [each.name for each in client.containers.list(filters={"label": "kind=test"})] == ["isle"]
for line in isle.logs(stream=True, follow=True):
    assert line == b"begun\n", line
    break

assert isle.exec_run("echo out").output == b"out\n"
code, (out, err) = isle.exec_run(["sh", "-c", "echo $A; hostname; echo e >&2; exit 5"], demux=True)
assert (code, out, err) == (5, b"b\nbox\n", b"e\n"), (code, out, err)
socket = isle.exec_run("cat", stdin=True, socket=True, tty=True).output
socket._sock.sendall(b"typed\r")
assert b"typed" in socket._sock.recv(64)
socket.close()

# Files go in and come out.
buffer = io.BytesIO()
with tarfile.open(fileobj=buffer, mode="w") as archive:
    entry = tarfile.TarInfo("note")
    entry.size = 4
    archive.addfile(entry, io.BytesIO(b"text"))
assert isle.put_archive("/data", buffer.getvalue())
chunks, stat = isle.get_archive("/data/note")
assert stat["name"] == "note" and stat["size"] == 4, stat
with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
    assert archive.extractfile("note").read() == b"text"
assert isle.exec_run("cat /data/note").output == b"text"
assert isle.diff() is None or all("Path" in change for change in isle.diff())

stats = isle.stats(stream=False)
assert {"cpu_stats", "precpu_stats", "memory_stats", "networks", "pids_stats", "blkio_stats"} <= stats.keys(), stats
assert any("sleep 1000" in process for row in isle.top()["Processes"] for process in row)
isle.pause()
isle.reload()
assert isle.status == "paused", isle.status
isle.unpause()
isle.rename("other")
assert client.containers.get("other").id == isle.id
isle.update(restart_policy={"Name": "no", "MaximumRetryCount": 0})

made = isle.commit(repository="made", tag="1", message="by hand")
assert client.containers.run("made:1", ["cat", "/proc/1/cmdline"], remove=True).startswith(b"cat")
# docker-py declares the folder as a volume of the image, and leaves that of the removed container behind.
assert len(client.volumes.prune()["VolumesDeleted"]) == 1
assert made.attrs["Comment"] == "by hand"
client.images.remove("made:1")

isle.stop(timeout=0)
assert isle.wait()["StatusCode"] == 137
isle.start()
isle.kill()
isle.wait()
try:
    client.volumes.get("store").remove()
    raise AssertionError("a volume in use was removed")
except APIError as error:
    assert error.status_code == 409, error
isle.remove()
client.volumes.get("store").remove()
try:
    client.containers.get("other")
    raise AssertionError("it is still there")
except NotFound:
    pass
events.close()
for action in ["create", "start", "pause", "unpause", "rename", "kill", "die", "stop", "destroy"]:
    assert action in seen, (action, seen)

# Sockets of attached clients.
cat = client.containers.create("busybox", "cat", stdin_open=True)
attached = cat.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
cat.start()
attached._sock.sendall(b"over there")
header = attached._sock.recv(8)
assert header[0] == 1 and attached._sock.recv(64) == b"over there", header
attached.close()
cat.remove(force=True)
assert client.containers.prune()["SpaceReclaimed"] >= 0
assert client.volumes.list() == []
assert client.df()["Images"]
print("done")
