"""A shell with job control on a terminal of its own: adit, and options of `adit run`."""
import fcntl, os, pty, re, select, struct, sys, termios, time

RUN = " ".join([sys.argv[1], "run", *sys.argv[2:]])
LIMIT = 60

pid, fd = pty.fork()
if pid == 0:
    os.environ.update(PS1="", ENV="", TERM="dumb", HISTFILE="")
    os.execvp("bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])

seen = ""

def wait_for(pattern):
    """Reads until the pattern has come; returns what it matched, and forgets it."""
    global seen
    end = time.time() + LIMIT
    while time.time() < end:
        found = re.search(pattern, seen)
        if found:
            seen = seen[found.end():]
            return found
        if select.select([fd], [], [], 0.2)[0]:
            try:
                seen += os.read(fd, 4096).decode(errors="replace")
            except OSError:
                break
    sys.exit(f"no {pattern!r} in {seen!r}")

def line(text):
    os.write(fd, text.encode() + b"\n")

line("stty -echo; PS1=; echo rea''dy")
wait_for("ready")
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))

# The terminal and its size are the command's, and a change reaches it.
line(f"{RUN} -- sh -c 'tty; stty size; trap \"stty size; exit 4\" WINCH; echo up; "
     "while :; do sleep 0.1; done'; echo status $?")
wait_for(r"/dev/pts/\d+\s+33 77\s+up")
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 88, 0, 0))
wait_for(r"44 88\s+status 4")

# Ctrl-C comes once, and a command that handles it goes on.
line(f"{RUN} -- sh -c 'trap \"echo int\" INT; echo up; for i in 1 2 3 4 5 6 7 8 9; do "
     "sleep 0.2; done; echo over'; echo status $?")
wait_for("up")
os.write(fd, b"\x03")
text = wait_for(r"(?s)(.*)over\s+status 0").group(1)
assert text.count("int") == 1, text

# A command that does not handle it ends by it.
line(f"{RUN} -- sh -c 'echo up; exec sleep 1000'; echo status $?")
wait_for("up")
os.write(fd, b"\x03")
wait_for("status 130")

# Ctrl-Z stops the job, fg goes on.
line(f"{RUN} -- sh -c 'echo up; sleep 1; echo over'")
wait_for("up")
os.write(fd, b"\x1a")
wait_for("Stopped")
line("echo still''here")
wait_for("stillhere")
line("fg; echo status $?")
wait_for(r"over\s+status 0")

# An interactive shell inside has job control of its own.
line(f"{RUN} -- bash --norc --noprofile --noediting -i; echo status $?")
line("stty -echo; PS1=; echo in''side $ADIT_RUN")
wait_for("inside 1")
line("sleep 1000")
time.sleep(0.5)
os.write(fd, b"\x1a")
wait_for("Stopped")
line("fg; echo fore''ground")
wait_for(r"sleep 1000\s")
time.sleep(0.5)
os.write(fd, b"\x03")
line("echo job''less; exit 6")
wait_for(r"jobless(?s:.*)status 6")
line("exit")
os.waitpid(pid, 0)
print("all is well")
