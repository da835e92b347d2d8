# pacsgrid: policy of a zone that holds anonymised imaging data.
#
# Who the service account is and which collections are protected stands in pacsgrid_settings.re,
# which install.py writes. Every rule of a policy enforcement point (PEP) has one body without a
# guard: a dynamic PEP whose guards all fail would fail the operation of everybody.

# -- who and where ------------------------------------------------------------------------------

# Sets who to "name#zone" when somebody else than the service account is at a protected path, else
# to nothing.
pacsgrid_outsider(*name, *home, *path, *who) {
    pacsgrid_settings(*zone, *service, *rooms, *below);
    *who = "";
    if (*path like regex *rooms) {
        if (*name != *service || *home != *zone) {
            *who = *name ++ "#" ++ *home;
        }
    }
}

# Refuses all but the service account.
pacsgrid_deny(*name, *home, *path, *what) {
    pacsgrid_settings(*zone, *service, *rooms, *below);
    if (*name != *service || *home != *zone) {
        writeLine("serverLog", "pacsgrid-refused *what by *name#*home: *path");
        failmsg(-818000, "pacsgrid: only the service account changes project data");
    }
}

# The same, at a protected path only.
pacsgrid_refuse(*name, *home, *path, *what) {
    pacsgrid_outsider(*name, *home, *path, *who);
    if (*who != "") {
        pacsgrid_deny(*name, *home, *path, *what);
    }
}

# -- what is deposited is immutable except to the service account -------------------------------

# A put, new or over something, by anybody else is refused.
pep_api_data_obj_put_pre(*INSTANCE, *COMM, *INP, *BUFFER, *PORTAL) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path, "put");
}

# The same for objects made by open and write.
pep_api_data_obj_create_pre(*INSTANCE, *COMM, *INP) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path, "create");
}

# Creating and asking what came of it, in one message.
pep_api_data_obj_create_and_stat_pre(*INSTANCE, *COMM, *INP, *STAT) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path, "create");
}

# Many small objects in one message (iput -b): refused when one of them is protected.
pep_api_bulk_data_obj_put_pre(*INSTANCE, *COMM, *INP, *BUFFER) {
    foreach (*key in *INP) {
        if (*key like "logical_path_*") {
            msiGetValByKey(*INP, *key, *path);
            pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *path, "bulk put");
        }
    }
}

# Touching: a new empty object, or another time of modification. The input is JSON; what says
# \u or \/ in it could hide a path, which no client does to printable characters.
pep_api_touch_pre(*INSTANCE, *COMM, *INP) {
    pacsgrid_settings(*zone, *service, *rooms, *below);
    if (*INP.buf like regex ".*" ++ *rooms || *INP.buf like regex ".*[\\][u/].*") {
        pacsgrid_deny(*COMM.user_user_name, *COMM.user_rods_zone, *INP.buf, "touch");
    }
}

# Registering a file or a directory that lies on the server, through either message.
pep_api_phy_path_reg_pre(*INSTANCE, *COMM, *INP) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path ++ "/", "register");
}

pep_api_register_physical_path_pre(*INSTANCE, *COMM, *INP, *OUT) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path ++ "/", "register");
}

# A new collection.
pep_api_coll_create_pre(*INSTANCE, *COMM, *INP) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.coll_name ++ "/", "make a collection");
}

# Opening to write is refused; opening to read (flags 0) is not.
pep_api_data_obj_open_pre(*INSTANCE, *COMM, *INP) {
    if (*INP.open_flags != "0") {
        pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path, "open for writing");
    }
}

pep_api_data_obj_open_and_stat_pre(*INSTANCE, *COMM, *INP, *STAT) {
    if (*INP.open_flags != "0") {
        pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path, "open for writing");
    }
}

# Opening a chosen replica to write, as parallel transfers do, likewise.
pep_api_replica_open_pre(*INSTANCE, *COMM, *INP, *OUT) {
    if (*INP.open_flags != "0") {
        pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path, "open for writing");
    }
}

# Removing an object, to the trash or for good.
pep_api_data_obj_unlink_pre(*INSTANCE, *COMM, *INP) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path, "remove");
}

# Removing a collection.
pep_api_rm_coll_pre(*INSTANCE, *COMM, *INP, *STAT) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.coll_name ++ "/", "remove");
}

# Renaming, into a protected collection or out of it.
pep_api_data_obj_rename_pre(*INSTANCE, *COMM, *INP) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.src_obj_path ++ "/", "rename");
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.dst_obj_path ++ "/", "rename");
}

# Copying into a protected collection; copying out of it is reading.
pep_api_data_obj_copy_pre(*INSTANCE, *COMM, *INP, *STAT) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.dst_obj_path, "copy");
}

# The same through irsync between two objects of the grid; its destination stands in a keyword.
pep_api_data_obj_rsync_pre(*INSTANCE, *COMM, *INP, *OUT) {
    foreach (*key in *INP) {
        if (*key == "rsyncDestPath") {
            msiGetValByKey(*INP, *key, *path);
            pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *path, "copy");
        }
    }
}

# Taking a replica away.
pep_api_data_obj_trim_pre(*INSTANCE, *COMM, *INP) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path, "trim");
}

# Cutting a replica.
pep_api_replica_truncate_pre(*INSTANCE, *COMM, *INP, *OUT) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path, "truncate");
}

# Unpacking a tar file into a protected collection.
pep_api_struct_file_ext_and_reg_pre(*INSTANCE, *COMM, *INP) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.collection_path ++ "/", "unpack");
}

# A rule of a user's own (irule) calls no message of the API but changes the catalog all the same.
# These stand at the catalog: what is above them answers earlier, what goes past it ends here.
pep_database_reg_data_obj_pre(*INSTANCE, *CONTEXT, *OUT, *INFO) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *INFO.logical_path, "enter");
}

pep_database_mod_data_obj_meta_pre(*INSTANCE, *CONTEXT, *OUT, *INFO, *PAIRS) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *INFO.logical_path, "change");
}

pep_database_unreg_replica_pre(*INSTANCE, *CONTEXT, *OUT, *INFO, *PAIRS) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *INFO.logical_path, "take out");
}

# -- checksums on every put -----------------------------------------------------------------------

# After every put and every close of a written object: a checksum for each replica that has none.
# One that is there is not computed again. Called from acPostProcForPut in pacsgrid_settings.re.
pacsgrid_checksum(*path) {
    msiDataObjChksum(*path, "ChksumAll=", *checksum);
}

# -- each read is counted -------------------------------------------------------------------------

pacsgrid_count_read(*name, *home, *path) {
    pacsgrid_outsider(*name, *home, *path, *who);
    if (*who != "") {
        writeLine("serverLog", "pacsgrid-read by *who: *path");
    }
}

# A get in one message.
pep_api_data_obj_get_post(*INSTANCE, *COMM, *INP, *PORTAL, *BUFFER) {
    pacsgrid_count_read(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path);
}

# A get by open and read.
pep_api_data_obj_open_post(*INSTANCE, *COMM, *INP) {
    if (*INP.open_flags == "0") {
        pacsgrid_count_read(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path);
    }
}

# The same when the answer tells the size too.
pep_api_data_obj_open_and_stat_post(*INSTANCE, *COMM, *INP, *STAT) {
    if (*INP.open_flags == "0") {
        pacsgrid_count_read(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path);
    }
}

# Opening a chosen replica to read, as streams do.
pep_api_replica_open_post(*INSTANCE, *COMM, *INP, *OUT) {
    if (*INP.open_flags == "0") {
        pacsgrid_count_read(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path);
    }
}

# A copy out of it.
pep_api_data_obj_copy_post(*INSTANCE, *COMM, *INP, *STAT) {
    pacsgrid_count_read(*COMM.user_user_name, *COMM.user_rods_zone, *INP.src_obj_path);
}

# -- replication and verification on the server, for sites that want them there -----------------

# A second replica of every object that has only one good one.
pacsgrid_replicate(*resource) {
    pacsgrid_settings(*zone, *service, *rooms, *pattern);
    foreach (*row in SELECT COLL_NAME, DATA_NAME, count(DATA_REPL_NUM)
                     WHERE COLL_NAME like '*pattern' AND DATA_REPL_STATUS = '1') {
        if (int(*row.DATA_REPL_NUM) < 2) {
            *path = *row.COLL_NAME ++ "/" ++ *row.DATA_NAME;
            *status = errorcode(msiDataObjRepl(*path, "destRescName=*resource", *out));
            if (*status < 0) {
                writeLine("serverLog", "pacsgrid-not-replicated *status: *path");
            }
        }
    }
}

# Every good replica's checksum recomputed from storage and compared; the catalog keeps its own.
pacsgrid_verify() {
    pacsgrid_settings(*zone, *service, *rooms, *pattern);
    *bad = 0;
    foreach (*row in SELECT COLL_NAME, DATA_NAME, DATA_REPL_NUM
                     WHERE COLL_NAME like '*pattern' AND DATA_REPL_STATUS = '1') {
        *path = *row.COLL_NAME ++ "/" ++ *row.DATA_NAME;
        *number = *row.DATA_REPL_NUM;
        *options = "verifyChksum=++++replNum=*number";
        *status = errorcode(msiDataObjChksum(*path, *options, *out));
        if (*status < 0) {
            *bad = *bad + 1;
            writeLine("serverLog", "pacsgrid-bad *status replica *number: *path");
        }
    }
    writeLine("serverLog", "pacsgrid-verified, bad replicas: *bad");
}
