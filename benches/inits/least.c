/* The least that an init can be: no C library, no option, no message, no memory of its
   own. What a start costs with it is what the kernel takes for one more process, so the
   overhead of the others is measured against it.

       least -- PATH [ARGUMENT...]

   It blocks all signals, starts the program at PATH (which is not searched for), forwards
   to it what it receives, reaps every child, and exits as the program did. x86-64 only. */

#include <asm/signal.h>
#include <asm/unistd.h>
#include <linux/wait.h>

/* The kernel's stack of a new program: argc, then argv and envp, each with a null at its
   end. */
__asm__(".globl _start\n"
        "_start:\n"
        "	mov %rsp, %rdi\n"
        "	and $-16, %rsp\n"
        "	call start\n");

static long call(long number, long a, long b, long c, long d)
{
    register long fourth __asm__("r10") = d;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
                     : "rcx", "r11", "memory");
    return result;
}

static _Noreturn void leave(int code)
{
    for (;;)
        call(__NR_exit_group, code, 0, 0, 0);
}

_Noreturn void start(long *stack)
{
    char **argv = (char **)(stack + 1), **envp = argv + stack[0] + 1;
    unsigned long all = ~0UL, before;
    long command;

    if (stack[0] < 3)
        leave(2);
    call(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, (long)&before, sizeof all);
    command = call(__NR_fork, 0, 0, 0, 0);
    if (command < 0)
        leave(126);
    if (command == 0) {
        call(__NR_rt_sigprocmask, SIG_SETMASK, (long)&before, 0, sizeof before);
        call(__NR_execve, (long)argv[2], (long)(argv + 2), (long)envp, 0);
        leave(127);
    }
    for (;;) {
        long signal = call(__NR_rt_sigtimedwait, (long)&all, 0, 0, sizeof all);
        if (signal == SIGCHLD) {
            long child;
            int status, code = -1;
            while ((child = call(__NR_wait4, -1, (long)&status, WNOHANG, 0)) > 0)
                if (child == command)
                    code = status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
            if (code >= 0)
                leave(code);
        } else if (signal > 0) {
            call(__NR_kill, command, signal, 0, 0);
        }
    }
}
