/** One thing that a driver does, with what has to hold afterwards. */
@FunctionalInterface
interface Case {
    void run() throws Exception;
}
