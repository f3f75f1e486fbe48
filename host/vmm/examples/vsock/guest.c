/* The guest that machines are measured with: PID 1 of an initramfs that holds nothing else. Each connection gets a
 * process. On start it opens a stream to port 6000 of the host and sends one byte.
 *
 *   5000  sends back what it gets, until the other side ends
 *   5001  reads a number and so many bytes, then sends the number
 *   5002  reads a number, sends so many bytes
 *   5003  reads a number, opens a stream to that port of the host and does as 5000 there
 *   5004  powers off
 *   5005  panics
 */
#include <linux/vm_sockets.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

static char buffer[1 << 18];

static int all(ssize_t (*move)(int, void *, size_t), int stream, void *bytes, size_t length)
{
	for (size_t done = 0; done < length;) {
		ssize_t moved = move(stream, (char *)bytes + done, length - done);
		if (moved <= 0)
			return 0;
		done += moved;
	}
	return 1;
}

static ssize_t put(int stream, void *bytes, size_t length)
{
	return write(stream, bytes, length);
}

static int dial(uint32_t port)
{
	struct sockaddr_vm host = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port };
	int stream = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (connect(stream, (struct sockaddr *)&host, sizeof host) != 0)
		_exit(1);
	return stream;
}

static void echo(int stream)
{
	ssize_t got;
	while ((got = read(stream, buffer, sizeof buffer)) > 0)
		if (!all(put, stream, buffer, got))
			return;
}

static void sink(int stream)
{
	uint64_t count;
	if (!all(read, stream, &count, sizeof count))
		return;
	for (uint64_t left = count; left > 0;) {
		ssize_t got = read(stream, buffer, left < sizeof buffer ? left : sizeof buffer);
		if (got <= 0)
			return;
		left -= got;
	}
	all(put, stream, &count, sizeof count);
}

static void source(int stream)
{
	uint64_t count;
	if (!all(read, stream, &count, sizeof count))
		return;
	while (count > 0) {
		size_t part = count < sizeof buffer ? count : sizeof buffer;
		if (!all(put, stream, buffer, part))
			return;
		count -= part;
	}
}

static void dial_back(int stream)
{
	uint64_t port;
	if (all(read, stream, &port, sizeof port))
		echo(dial(port));
}

static void power_off(int stream)
{
	(void)stream;
	reboot(RB_AUTOBOOT);
}

static void panic(int stream)
{
	(void)stream;
	/* PID 1 may not end. */
	kill(1, SIGUSR1);
}

static void (*const services[])(int) = { echo, sink, source, dial_back, power_off, panic };
#define SERVICES (sizeof services / sizeof services[0])

static void end(int signal)
{
	(void)signal;
	_exit(1);
}

int main(void)
{
	if (write(1, "/init runs\n", 11) != 11)
		return 1;
	signal(SIGUSR1, end);
	signal(SIGCHLD, SIG_IGN);
	for (size_t i = 0; i < SERVICES; i++) {
		struct sockaddr_vm own = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = 5000 + i };
		int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
		if (bind(listener, (struct sockaddr *)&own, sizeof own) != 0 || listen(listener, 128) != 0)
			return 1;
		if (fork() == 0)
			for (;;) {
				int stream = accept(listener, 0, 0);
				if (stream >= 0 && fork() == 0) {
					services[i](stream);
					_exit(0);
				}
				close(stream);
			}
		close(listener);
	}
	if (fork() == 0) {
		if (write(dial(6000), "", 1) != 1)
			_exit(1);
		_exit(0);
	}
	for (;;)
		pause();
}
