/*
 * A program of an `exec` backend, on Windows. Its argument says what it does with its call:
 *
 *   approve  writes what it was started with to files in its folder, and presses the right code
 *   leave    starts a child that holds its output open, and presses the right code
 *   hang_up  rings until its input ends, then hangs up
 *   hang     starts a child, and rings on whatever happens to its input
 *   sleep    is such a child
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

static void fail(const char *what) {
    fprintf(stderr, "%s: error %lu\n", what, GetLastError());
    exit(3);
}

static FILE *create(const char *name) {
    FILE *file = fopen(name, "w");
    if (file == NULL) fail(name);
    return file;
}

/* Starts this program again, with all its inheritable handles, and writes both process ids to the file "processes". */
static void start_child(void) {
    char path[MAX_PATH], command[MAX_PATH + 10];
    STARTUPINFOA startup;
    PROCESS_INFORMATION child;
    FILE *file;

    memset(&startup, 0, sizeof startup);
    startup.cb = sizeof startup;
    GetModuleFileNameA(NULL, path, sizeof path);
    sprintf(command, "\"%s\" sleep", path);
    if (!CreateProcessA(NULL, command, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &child)) fail("CreateProcess");
    file = create("processes.new");
    fprintf(file, "%lu\n%lu\n", GetCurrentProcessId(), child.dwProcessId);
    fclose(file);
    if (!MoveFileA("processes.new", "processes")) fail("MoveFile");
}

/* Writes the environment, the arguments, the folder, and the handles of pipes and files. */
static void write_start(int argc, char **argv) {
    char text[4096];
    FILE *file = create("start");
    char *variables = GetEnvironmentStringsA(), *variable;
    size_t handle;
    int i, pipes = 0;

    for (variable = variables; *variable != '\0'; variable += strlen(variable) + 1)
        fprintf(file, "variable %s\n", variable);
    for (i = 1; i < argc; i++) fprintf(file, "argument %s\n", argv[i]);
    GetCurrentDirectoryA(sizeof text, text);
    fprintf(file, "folder %s\n", text);
    for (handle = 4; handle < 4096; handle += 4) {
        DWORD type = GetFileType((HANDLE)handle);
        if (type == FILE_TYPE_PIPE) pipes++;
        if (type == FILE_TYPE_DISK && GetFinalPathNameByHandleA((HANDLE)handle, text, sizeof text, 0) < sizeof text)
            fprintf(file, "file %s\n", text);
    }
    fprintf(file, "pipes %d\n", pipes);
    fclose(file);
}

static void press_code(const char *call) {
    const char *code = strstr(call, "\"code\":\"");
    if (code == NULL) fail("the call has no code");
    code += strlen("\"code\":\"");
    printf("{\"event\":\"answered\"}\n");
    printf("{\"event\":\"pressed\",\"attempt\":1,\"digits\":\"%.*s\",\"ended_by\":\"pound\"}\n",
           (int)strcspn(code, "\""), code);
}

int main(int argc, char **argv) {
    static char call[8192];
    const char *task = argc > 1 ? argv[1] : "";

    if (strcmp(task, "sleep") == 0) Sleep(INFINITE);
    if (fgets(call, sizeof call, stdin) == NULL) fail("there is no call");
    if (strcmp(task, "approve") == 0) write_start(argc, argv);
    if (strcmp(task, "leave") == 0 || strcmp(task, "hang") == 0) start_child();
    printf("{\"event\":\"ringing\"}\n");
    fflush(stdout);
    if (strcmp(task, "hang") == 0) Sleep(INFINITE);
    if (strcmp(task, "hang_up") == 0) {
        if (fgetc(stdin) != EOF) fail("the input goes on");
        return 0;
    }
    press_code(call);
    return 0;
}
