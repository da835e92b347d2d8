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

# Sets below to 1 when a path is a protected collection's or one's above it, which what is done
# recursively would reach.
pacsgrid_reaches(*path, *below) {
    pacsgrid_settings(*zone, *service, *rooms, *pattern);
    pacsgrid_places(*inside, *above);
    *below = 0;
    if (*path ++ "/" like regex *rooms || *path ++ "/" like regex *above) {
        *below = 1;
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

# The same for what is done recursively: at a protected path, and at the collections above.
pacsgrid_refuse_tree(*name, *home, *path, *what) {
    pacsgrid_reaches(*path, *below);
    if (*below == 1) {
        pacsgrid_deny(*name, *home, *path, *what);
    }
}

# The same for messages whose input is JSON. A path is protected as value of its key only: what a
# value of metadata says is free. Printable ASCII that is escaped could hide a key or a path, and no
# client writes it so.
pacsgrid_refuse_json(*name, *home, *json, *what) {
    pacsgrid_places(*inside, *above);
    *blank = "[[:space:]]*";
    *key = ".*\"(logical_path|entity_name)\"" ++ *blank ++ ":" ++ *blank ++ "\"";
    if (*json like regex *key ++ *inside ++ "[/\"].*"
        || *json like regex *key ++ "[^\"]*/[.][.]/.*"
        || *json like regex ".*[\\](/|u00[2-7]).*") {
        pacsgrid_deny(*name, *home, *json, *what);
    }
}

# The same for an object that is known by its number in the catalog.
pacsgrid_refuse_object(*name, *home, *id, *what) {
    foreach (*row in SELECT COLL_NAME, DATA_NAME WHERE DATA_ID = '*id') {
        pacsgrid_refuse(*name, *home, *row.COLL_NAME ++ "/" ++ *row.DATA_NAME, *what);
    }
}

# The same for a collection, by its number.
pacsgrid_refuse_collection(*name, *home, *id, *what) {
    foreach (*row in SELECT COLL_NAME WHERE COLL_ID = '*id') {
        pacsgrid_refuse_tree(*name, *home, *row.COLL_NAME, *what);
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

# Touching: a new empty object, or another time of modification.
pep_api_touch_pre(*INSTANCE, *COMM, *INP) {
    pacsgrid_refuse_json(*COMM.user_user_name, *COMM.user_rods_zone, *INP.buf, "touch");
}

# Metadata and access lists in one message of many operations.
pep_api_atomic_apply_metadata_operations_pre(*INSTANCE, *COMM, *INP, *OUT) {
    pacsgrid_refuse_json(*COMM.user_user_name, *COMM.user_rods_zone, *INP.buf, "describe");
}

pep_api_atomic_apply_acl_operations_pre(*INSTANCE, *COMM, *INP, *OUT) {
    pacsgrid_refuse_json(*COMM.user_user_name, *COMM.user_rods_zone, *INP.buf, "share");
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
    pacsgrid_refuse_tree(*COMM.user_user_name, *COMM.user_rods_zone, *INP.coll_name, "remove");
}

# Renaming, into a protected collection or out of it, or one above it.
pep_api_data_obj_rename_pre(*INSTANCE, *COMM, *INP) {
    pacsgrid_refuse_tree(*COMM.user_user_name, *COMM.user_rods_zone, *INP.src_obj_path, "rename");
    pacsgrid_refuse_tree(*COMM.user_user_name, *COMM.user_rods_zone, *INP.dst_obj_path, "rename");
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

# One more replica, of an object or of all in a collection.
pep_api_data_obj_repl_pre(*INSTANCE, *COMM, *INP, *STAT) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path, "replicate");
}

pep_api_coll_repl_pre(*INSTANCE, *COMM, *INP, *STAT) {
    pacsgrid_refuse_tree(*COMM.user_user_name, *COMM.user_rods_zone, *INP.coll_name, "replicate");
}

# A replica to another resource. Refused before it moves: what the catalog refuses afterwards would
# leave it moved and the client with an error.
pep_api_data_obj_phymv_pre(*INSTANCE, *COMM, *INP, *STAT) {
    pacsgrid_refuse(*COMM.user_user_name, *COMM.user_rods_zone, *INP.obj_path, "move a replica");
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

# The same before it gets there, where the path is not one of the fields that a keyword can hide.
acPreProcForModifyDataObjMeta {
    pacsgrid_refuse($userNameClient, $rodsZoneClient, $objPath, "change");
}

pep_database_unreg_replica_pre(*INSTANCE, *CONTEXT, *OUT, *INFO, *PAIRS) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *INFO.logical_path, "take out");
}

pep_database_reg_replica_pre(*INSTANCE, *CONTEXT, *OUT, *SOURCE, *INFO, *PAIRS) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *SOURCE.logical_path, "replicate");
}

# What a write leaves in the catalog: it names objects by number alone.
pep_database_data_object_finalize_pre(*INSTANCE, *CONTEXT, *OUT, *JSON) {
    pacsgrid_settings(*zone, *service, *rooms, *below);
    if (*CONTEXT.user_user_name != *service || *CONTEXT.user_rods_zone != *zone) {
        *step = 0;
        foreach (*word in split(*JSON, "\"")) {
            if (*step == 2) {
                pacsgrid_refuse_object(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *word, "write");
            }
            if (*step == 1) {
                *step = 2;
            } else {
                *step = 0;
            }
            if (*word == "data_id") {
                *step = 1;
            }
        }
    }
}

pep_database_rename_object_pre(*INSTANCE, *CONTEXT, *OUT, *ID, *TO) {
    pacsgrid_refuse_object(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *ID, "rename");
    pacsgrid_refuse_collection(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *ID, "rename");
}

pep_database_move_object_pre(*INSTANCE, *CONTEXT, *OUT, *ID, *TO) {
    pacsgrid_refuse_object(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *ID, "rename");
    pacsgrid_refuse_collection(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *ID, "rename");
    pacsgrid_refuse_collection(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *TO, "rename");
}

pep_database_rename_coll_pre(*INSTANCE, *CONTEXT, *OUT, *FROM, *TO) {
    pacsgrid_refuse_tree(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *FROM, "rename");
    pacsgrid_refuse_tree(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *TO, "rename");
}

pep_database_reg_coll_pre(*INSTANCE, *CONTEXT, *OUT, *INFO) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *INFO.coll_name ++ "/", "make a collection");
}

pep_database_mod_coll_pre(*INSTANCE, *CONTEXT, *OUT, *INFO) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *INFO.coll_name ++ "/", "change");
}

pep_database_del_coll_pre(*INSTANCE, *CONTEXT, *OUT, *INFO) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *INFO.coll_name ++ "/", "remove");
}

# Metadata: what the search goes by.
pep_database_add_avu_metadata_pre(*INSTANCE, *CONTEXT, *OUT, *TYPE, *NAME, *ATTRIBUTE, *VALUE, *UNIT, *PAIRS) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *NAME ++ "/", "describe");
}

pep_database_set_avu_metadata_pre(*INSTANCE, *CONTEXT, *OUT, *TYPE, *NAME, *ATTRIBUTE, *VALUE, *UNIT, *PAIRS) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *NAME ++ "/", "describe");
}

pep_database_mod_avu_metadata_pre(*INSTANCE, *CONTEXT, *OUT, *TYPE, *NAME, *ATTRIBUTE, *VALUE, *UNIT, *ONE, *TWO, *THREE, *PAIRS) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *NAME ++ "/", "describe");
}

pep_database_del_avu_metadata_pre(*INSTANCE, *CONTEXT, *OUT, *OPTION, *TYPE, *NAME, *ATTRIBUTE, *VALUE, *UNIT, *NOCOMMIT, *PAIRS) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *NAME ++ "/", "describe");
}

pep_database_copy_avu_metadata_pre(*INSTANCE, *CONTEXT, *OUT, *FROMTYPE, *TOTYPE, *FROM, *TO, *PAIRS) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *TO ++ "/", "describe");
}

# Who may read, and that the service account may change, is the service account's to say. Nobody
# takes or gives access from above either.
pep_database_mod_access_control_pre(*INSTANCE, *CONTEXT, *OUT, *RECURSIVE, *LEVEL, *WHO, *WHOSE, *PATH) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *PATH ++ "/", "share");
    if (*RECURSIVE != "0") {
        pacsgrid_refuse_tree(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *PATH, "share");
    }
}

# A ticket gives access past the access list. What changes one that is there names no path; only
# who made it may.
pep_database_mod_ticket_pre(*INSTANCE, *CONTEXT, *OUT, *OPERATION, *TICKET, *KIND, *PATH, *NEWNAME, *PAIRS) {
    if (*OPERATION == "create") {
        pacsgrid_refuse_tree(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *PATH, "make a ticket");
    }
}

# At storage the path comes from the server alone. A keyword of a client's, named as one of the
# fields of a message, hides that field from a rule.
pep_resource_create_pre(*INSTANCE, *CONTEXT, *OUT) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *CONTEXT.logical_path, "write");
}

pep_resource_open_pre(*INSTANCE, *CONTEXT, *OUT) {
    if (*CONTEXT.flags_kw != "0") {
        pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *CONTEXT.logical_path, "write");
    }
}

pep_resource_unlink_pre(*INSTANCE, *CONTEXT, *OUT) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *CONTEXT.logical_path, "remove");
}

pep_resource_rename_pre(*INSTANCE, *CONTEXT, *OUT, *TO) {
    pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *CONTEXT.logical_path, "rename");
}

# Which object the file is of is not told here.
pep_resource_truncate_pre(*INSTANCE, *CONTEXT, *OUT) {
    *file = *CONTEXT.physical_path;
    foreach (*row in SELECT COLL_NAME, DATA_NAME WHERE DATA_PATH = '*file') {
        pacsgrid_refuse(*CONTEXT.user_user_name, *CONTEXT.user_rods_zone, *row.COLL_NAME ++ "/" ++ *row.DATA_NAME, "truncate");
    }
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
